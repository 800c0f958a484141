"""What all tests share: hypothesis without deadlines (CI machines are noisy), and where ../shared is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("veredus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("veredus")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """Give the folder of corpora and checks; skip where it isn't beside the checkout."""
    if not (SHARED / "checks").is_dir():
        pytest.skip("../shared is not beside the checkout")
    return SHARED
