"""Behaviour files."""

from __future__ import annotations

import pytest

from engine.errors import InputError
from scenarios.behaviour.reading import read_behaviour, settings_of

GOOD = """\
behaviour: shoppers
days: 14
settings:
  zone: Europe/Warsaw
  caps: [{limit: 2, window: 7d}]
  quiet_hours: {from: "21:00", to: "08:00"}
contacts:
  domains: {wp.test: 1}
  consents: {offers: 0.9}
happens:
  - event: cart.updated
    hours: office
    data: {value: {whole: [1, 9]}}
follows:
  - after: event cart.updated
    event: order.placed
    chance: 0.3
    delay: {quantiles: [[0, 0s], [0.5, 1h], [1, 2d]]}
    once: = cause.cart
mail: {opened: 0.4, steps: {last: {opened: 0.1}}}
"""


def test_a_file_is_read() -> None:
    """All parts, with the tenant's settings as test files have them."""
    read = read_behaviour(GOOD, "behaviour.yaml")
    assert (read.days, read.happens[0].hours) == (14, "office")
    settings = settings_of(read.settings)
    assert settings.caps[0].window_ms == 7 * 86_400_000
    assert settings.quiet_hours is not None
    assert (settings.quiet_hours.from_minute, settings.quiet_hours.to_minute) == (1260, 480)


@pytest.mark.parametrize(
    ("before", "after", "line", "says"),
    [
        ("chance: 0.3", "chance: 1.3", 17, "1.0"),
        ("chance: 0.3", "chanse: 0.3", 17, "did you mean `chance`?"),
        ("event cart.updated", "cart.updated", 15, "form"),
        ("{whole: [1, 9]}", "{whole: [9, 1]}", 13, "whole"),
        ("once: = cause.cart", "once: = cart", 19, "leads nowhere"),
        ("[0.5, 1h]", "[0.5, soon]", 18, "form"),
        ("zone: Europe/Warsaw", "zone: Warsaw", 0, "no time zone"),
        ("{limit: 2, window: 7d}", "{limit: 2}", 0, "either `window` or `period`"),
        ("days: 14", "days: 14\ndays: 15", 3, "twice"),
    ],
)
def test_a_mistake_is_told_with_its_place(before: str, after: str, line: int, says: str) -> None:
    """Where it is, what was expected, how to mend it."""
    with pytest.raises(InputError) as caught:
        read_behaviour(GOOD.replace(before, after), "behaviour.yaml")
    assert says in str(caught.value)
    if line:
        assert caught.value.place is not None
        assert line == caught.value.place.line
