"""What all tests share: hypothesis without deadlines (CI machines are noisy), and where ../shared is.

With `CI` set hypothesis draws the same examples every time, so a red run is the change's doing; elsewhere it goes on
searching, and prints what reproduces a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("veredus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", parent=settings.get_profile("veredus"), derandomize=True, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "veredus")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """Give the folder of corpora and checks; skip where it isn't beside the checkout."""
    if not (SHARED / "checks").is_dir():
        pytest.skip("../shared is not beside the checkout")
    return SHARED
