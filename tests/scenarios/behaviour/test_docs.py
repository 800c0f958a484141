"""docs/simulation.md."""

from __future__ import annotations

import re
from pathlib import Path

from scenarios.behaviour.acting import Actor, Cast
from scenarios.behaviour.reading import read_behaviour

PAGE = (Path(__file__).parents[3] / "docs" / "simulation.md").read_text("utf-8")


def test_the_example_is_a_behaviour_that_can_be_acted() -> None:
    """The file on the page reads without a mistake, and its contacts do something."""
    (text,) = re.findall(r"```yaml behaviour\n(.*?)```", PAGE, re.DOTALL)
    cast = Cast(read_behaviour(text, "docs/simulation.md"))
    assert any(Actor(cast, f"c{number}", 1).opening() for number in range(20))
