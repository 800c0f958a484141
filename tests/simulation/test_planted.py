"""The simulation can fail: each planted bug is found within the seeds of `make test`."""

from __future__ import annotations

import pytest

from tests.simulation.run import Failed, run_many
from tests.simulation.variants import VARIANTS

SEEDS = 600


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", VARIANTS)
def test_planted_bug_is_found(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken promise is named, with the seed that shows it."""
    with pytest.raises(Failed) as failed:
        run_many(range(SEEDS), VARIANTS[name], name)
    with capsys.disabled():
        print(f"\nplanted {name}: {str(failed.value)[:160]}")
    assert "replay: python -m tests.simulation.run --seed" in str(failed.value)
