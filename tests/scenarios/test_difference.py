"""Differences of meaning between two versions."""

from __future__ import annotations

from scenarios.checking import load
from scenarios.difference import Change, differences, places_for_removed

OLD = """
scenario: s
entry: e
steps:
  - {id: a, wait: 1d}
  - {id: b, send: {template: x, topic: t}}
  - {id: c, wait: 2d}
  - {id: d, wait: 3d}
"""


def changes(new: str) -> list[Change]:
    return differences(load(OLD), load(new))


def test_the_same_meaning_has_no_difference() -> None:
    assert changes("# comment\n" + OLD.replace("1d", "24h")) == []


def test_changed_keys_of_steps_and_scenario_are_named() -> None:
    new = OLD.replace("template: x", "template: y").replace("entry: e", "entry: e\npriority: 3")
    assert changes(new) == [
        Change("changed", "", "priority", 0, 3),
        Change("changed", "b", "template", "x", "y"),
    ]


def test_added_removed_and_moved_steps_are_named() -> None:
    lines = OLD.strip().split("\n")
    moved = "\n".join([*lines[:3], lines[4], lines[3], "  - {id: n, tag: x}", lines[6]])
    assert {(one.what, one.step) for one in changes(moved)} == {
        ("added", "n"),
        ("removed", "c"),
        ("moved", "a"),
        ("moved", "b"),
        ("moved", "d"),
    }


def test_a_journey_of_a_removed_wait_moves_to_the_next_one_that_is_kept() -> None:
    without = "\n".join(line for line in OLD.split("\n") if "id: c" not in line)
    assert places_for_removed(load(OLD), load(without)) == {"c": "d"}
    bare = "\n".join(line for line in OLD.split("\n") if "wait" not in line)
    assert places_for_removed(load(OLD), load(bare)) == {"a": "", "c": "", "d": ""}
