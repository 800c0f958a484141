"""Checking: every mistake at once, each with its place and how to mend it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from scenarios.checking import check, load
from scenarios.types import TypeSchema, read_types

FRAME = """scenario: s
entry: e
steps:
"""


def found(text: str, types: TypeSchema | None = None) -> list[tuple[int, int, str, str]]:
    return [(one.line, one.column, one.message, one.mend) for one in check(text, "f", types)]


def test_all_mistakes_of_a_file_are_found_at_once_in_the_order_of_their_places() -> None:
    text = """scenario: Win Back
entry:
  event: order.placed
  when: contact.count('order.placed') = 1
reentry: sometimes
steps:
  - id: first
    send: {template: t, topik: x}
  - id: first
    wait: 3 days
"""
    assert [(one.line, one.column) for one in check(text)] == [
        (1, 11),
        (4, 39),
        (5, 10),
        (8, 11),
        (8, 25),
        (9, 9),
        (10, 11),
    ]
    assert [one.mend for one in check(text)] == [
        "write `win-back`",
        "write `==`",
        "it is one of never, always, restart",
        "add `topic:`, or `stream: transactional` if the contact asked for this mail",
        "did you mean `topic`?",
        "name it `first-2`, for instance",
        "did you mean `3d`?",
    ]


@pytest.mark.parametrize(
    ("steps", "part"),
    [
        ("  - {id: a, end: x}\n  - {id: b, wait: 1d}", "no journey can reach this step"),
        (
            "  - {id: a, if: 'true', then: [{end: }], else: [{end: }]}\n  - {id: b, wait: 1d}",
            "no journey can reach this step",
        ),
        ("  - {id: a, wait_for: x, else: [{id: b, wait: 1d}]}", "there is no `timeout`"),
        ("  - {id: a, repeat: 3, steps: [{id: b, tag: x}]}", "this loop never waits"),
        ("  - {id: a, start: s}", "can't start itself"),
        ("  - {id: a, wait: 1d, send: x}", "a step does one thing"),
        ("  - {id: a, wait_four: x}", "unknown kind of step `wait_four`"),
        ("  - {id: a}", "this step does nothing"),
        ("  - wait: 1d", "wait has no `id`"),
        ("  - {id: a, wait: 0d}", "isn't a duration"),
        ("  - {id: a, wait: {at: '25:00'}}", "must be a time of day"),
        ("  - {id: a, wait: {from: '09:00'}}", "the window has no `to`"),
        ("  - {id: a, wait: {at: '09:00', zone: Oslo}}", "there is no time zone `Oslo`"),
        ("  - {id: a, wait: {at: '09:00', days: [monday]}}", "no day of the week"),
        ("  - {id: a, wait_for: {event: x, as: event}}", "would hide a field"),
        ("  - {id: a, if: evnt.x == 1}", "`evnt` is unknown"),
        ("  - {id: a, if: contact.cuont('x') == 1}", "has no function `cuont`"),
        ("  - {id: a, if: contact.count('x')}", "gives an int, a bool is needed"),
        ("  - {id: a, if: contact.count('x') == '1'}", "never equal"),
        ("  - {id: a, if: journey.nothing == 1}", "journey has no field `nothing`"),
        ("  - {id: a, if: event.name.matches('x')}", "no function `matches`"),
        ("  - {id: a, if: 'event.a.all(contact, true)'}", "would hide"),
        ("  - {id: a, split: [{name: x, weight: 0}]}", "all weights are 0"),
        ("  - {id: a, split: [{name: x}, {name: x}]}", "appears twice"),
        ("  - {id: a, update: {x: '= 1 +'}}", "ends too early"),
        ("  - {id: a, for_each: event.x == 1, steps: [{id: b, wait: 1d}]}", "a list is needed"),
        ("  x: 1", "steps must be a list"),
        ("  - {id: a, wait: 1d", "not YAML"),
        ("  - &x {id: a, wait: 1d}", "anchors aren't supported"),
        ("  - !!python/object {id: a}", "tags aren't supported"),
        ("  - {id: a, wait: 1d, wait: 2d}", "appears twice, first on line 4"),
    ],
)
def test_a_mistake_is_found(steps: str, part: str) -> None:
    assert any(part in message for _, _, message, _ in found(FRAME + steps)), found(FRAME + steps)


def test_a_goal_that_takes_the_event_of_a_wait_is_found() -> None:
    text = "goal: bought\n" + FRAME + "  - {id: a, wait_for: bought}"
    assert [message for _, _, message, _ in found(text)] == [
        "`bought` ends the journey as goal or exit before it gets here"
    ]


def test_an_entry_has_an_event_or_a_condition_that_becomes_true() -> None:
    for entry, part in (
        ("{when: 'true'}", "entry has no `event`"),
        ("{event: e, becomes: 'true'}", "`becomes` stands for itself"),
        ("{becomes: event.x == 1}", "event has no field `x`"),
        ("{becomes: journey.visit == 1}", "no journey yet"),
    ):
        text = f"scenario: s\nentry: {entry}\nsteps: [{{id: a, wait: 1d}}]"
        assert [part in message for _, _, message, _ in found(text)] == [True], entry


def test_there_is_no_journey_yet_in_a_condition_of_the_entry() -> None:
    text = "scenario: s\nentry: {event: e, when: journey.visit == 1}\nsteps: [{id: a, wait: 1d}]"
    assert [(line, column) for line, column, _, _ in found(text)] == [(2, 25)]


@pytest.mark.parametrize(
    ("written", "line", "column"),
    [
        ("    if: evnt.x", 5, 9),
        ("    if: 'evnt.x'", 5, 10),
        ("    if: |\n      true &&\n      evnt.x", 7, 7),
        ("    if: true &&\n      evnt.x", 6, 7),
    ],
)
def test_a_place_inside_an_expression_is_a_place_in_the_file(
    written: str, line: int, column: int
) -> None:
    [mistake] = check(FRAME + "  - id: a\n" + written)
    assert mistake.message == "`evnt` is unknown"
    assert (line, column) == (mistake.line, mistake.column)


TYPES, _ = read_types(
    "contact: {plan: string, age: int}\nevents: {e: {value: int}, order: {value: int}}"
)


@pytest.mark.parametrize(
    ("steps", "message", "mend"),
    [
        ("{id: a, if: contact.paln == 'x'}", "contact has no field `paln`", "did you mean `plan`?"),
        ("{id: a, if: event.valeu > 1}", "event has no field `valeu`", "did you mean `value`?"),
        ("{id: a, if: contact.age == 'x'}", "an int is never equal to a string", ""),
        (
            "{id: a, if: contact.count('ordr') > 1}",
            "no event `ordr` is declared",
            "did you mean `order`?",
        ),
        ("{id: a, wait_for: ordr}", "no event `ordr` is declared", "did you mean `order`?"),
    ],
)
def test_with_a_type_schema_misspelt_names_are_found(steps: str, message: str, mend: str) -> None:
    assert found(FRAME + "  - " + steps) == [] or "never" in message
    [(_, _, told, mended)] = found(FRAME + "  - " + steps, TYPES)
    assert (told, mend or mended) == (message, mended)


def test_a_type_schema_with_mistakes_names_them() -> None:
    _, mistakes = read_types("contact: {age: integr}\nevent: {}")
    assert [one.mend for one in mistakes] == ["did you mean `int`?", "did you mean `events`?"]


def test_there_is_a_limit_to_the_expressions_of_a_file() -> None:
    conditions = ["contact.x == 1"] * 1_001
    steps = "".join(f"  - {{id: s{at}, if: {one}}}\n" for at, one in enumerate(conditions))
    [(line, _, message, _)] = found(FRAME + steps)
    assert line == 1_004
    assert "more than 1000 expressions" in message


def test_load_raises_the_first_mistake_and_says_how_many_more() -> None:
    with pytest.raises(InputError, match=r"f.yaml:1:1: .*1 more.*") as caught:
        load("scenario: s\nentrie: e\nsteps: [{id: a, wait: 1d}]\n", "f.yaml")
    assert caught.value.place.line == 1


def test_layout_comments_and_description_do_not_change_the_version_but_meaning_does() -> None:
    one = load(FRAME + "  - {id: a, wait: 7d}")
    same = load(FRAME + "  # a week\n  - id: a\n    wait: 1w\ndescription: x")
    other = load(FRAME + "  - {id: a, wait: 8d}")
    assert one.version == same.version != other.version
    assert (
        one.version == "40c2763773c32eb9"
    )  # as of the first day: a new key of the language must not change it


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-{}[]'\"|>#&*!%@`,?\n  wait\x00é", max_size=120))
def test_any_text_gives_mistakes_or_a_scenario(text: str) -> None:
    for head in ("", FRAME):
        assert all(one.line >= 1 and one.column >= 1 for one in check(head + text))


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "- " * 10_000, "{a: " * 5_000, "a" * 300_000, "\n" * 200_001]
)
def test_hostile_text_is_a_mistake_and_not_a_crash(text: str) -> None:
    assert len(check(text)) == 1
