"""For generated scenarios and event orders, the compiled machine and the reference agree on every send."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.vocabulary import ContactPut, Event
from scenarios.checking import examine
from scenarios.experiments import Ruling
from tests.scenarios.reference import CONDITIONS, HOUR, Reference
from tests.scenarios.world import World

_EVENTS = st.sampled_from(["a", "a", "b"])
_HOURS = st.integers(1, 4).map(lambda hours: f"{hours}h")
_AT_STEPS = st.sampled_from(sorted(CONDITIONS))
_AT_ENTRY = st.sampled_from(sorted(one for one in CONDITIONS if "journey" not in one))


def _optional(draw: Any, target: dict[str, Any], key: str, values: st.SearchStrategy[Any]) -> None:
    if draw(st.booleans()):
        target[key] = draw(values)


@st.composite
def _waiter(draw: Any, inner: st.SearchStrategy[list[dict[str, Any]]]) -> dict[str, Any]:
    made: dict[str, Any] = {"event": draw(_EVENTS), "then": draw(inner)}
    _optional(draw, made, "when", _AT_STEPS)
    return made


@st.composite
def _wait_for(draw: Any, inner: st.SearchStrategy[list[dict[str, Any]]]) -> dict[str, Any]:
    step: dict[str, Any] = {"wait_for": draw(st.lists(_waiter(inner), min_size=1, max_size=2))}
    if draw(st.booleans()):
        step |= {"timeout": draw(_HOURS), "else": draw(inner)}
    _optional(draw, step, "since", st.sampled_from(["entry", "step"]))
    return step


@st.composite
def _branch(draw: Any, inner: st.SearchStrategy[list[dict[str, Any]]]) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"if": draw(_AT_STEPS), "then": draw(inner), "else": draw(inner)}
    cases = [{"when": draw(_AT_STEPS), "then": draw(inner)} for _ in range(draw(st.integers(1, 2)))]
    return {"switch": cases, "else": draw(inner)}


@st.composite
def _loop(draw: Any, inner: st.SearchStrategy[list[dict[str, Any]]]) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"for_each": "event.items", "steps": draw(inner), "limit": 2}
    step = {"repeat": draw(st.integers(1, 3)), "steps": [{"wait": draw(_HOURS)}, *draw(inner)]}
    _optional(draw, step, "while", _AT_STEPS)
    return step


@st.composite
def _draw(draw: Any, inner: st.SearchStrategy[list[dict[str, Any]]]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["split", "experiment"]))
    variants = [{"name": "a", "then": draw(inner)}, {"name": "b", "then": draw(inner)}]
    for variant in variants:
        _optional(draw, variant, "weight", st.integers(1, 4))
    step: dict[str, Any] = {kind: variants}
    _optional(draw, step, "salt", st.sampled_from(["salt", "pepper"]))
    if kind == "experiment":
        _optional(draw, step, "metric", _EVENTS)
        _optional(draw, step, "holdout", st.just("a"))
    return step


_SEND = st.just({"send": {"template": "x", "topic": "n"}})
_simple: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _SEND,
    _SEND,
    _SEND,
    _HOURS.map(lambda hours: {"wait": hours}),
    st.sampled_from(["on", "off"]).map(lambda value: {"update": {"flag": value}}),
    st.sampled_from(["add", "remove"]).map(lambda key: {"tag": {key: ["t"]}}),
    st.just({"score": {"name": "s", "add": 1}}),
    st.just({"end": "done"}),
)


def _steps(depth: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = _simple
    if depth:
        inner = _steps(depth - 1)
        one = st.one_of(_simple, _wait_for(inner), _branch(inner), _loop(inner), _draw(inner))
    return st.lists(one, min_size=depth, max_size=3)


def _numbered(steps: list[dict[str, Any]], counter: list[int]) -> list[dict[str, Any]]:
    """Give every step its id; what is nested stays nested."""
    made = []
    for step in steps:
        counter[0] += 1
        copy = {"id": f"s{counter[0]}"}
        for key, value in step.items():
            if key in {"then", "else", "steps"}:
                copy[key] = _numbered(value, counter)  # type: ignore[assignment]
            elif key in {"wait_for", "switch", "split", "experiment"}:
                copy[key] = [  # type: ignore[assignment]
                    {**part, "then": _numbered(part["then"], counter)} for part in value
                ]
            else:
                copy[key] = value
        made.append(copy)
    return made


@st.composite
def _scenario(draw: Any, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"event": draw(_EVENTS)}
    if draw(st.integers(0, 2)) == 0:
        entry["when"] = draw(_AT_ENTRY)
    made: dict[str, Any] = {"scenario": name, "entry": [entry]}
    rules = st.sampled_from(["never", "always", "restart", {"after": "3h"}])
    made["reentry"] = draw(rules)
    _optional(draw, made, "key", st.just("event.k"))
    _optional(draw, made, "priority", st.integers(-1, 1))
    if draw(st.integers(0, 3)) == 0:
        made["goal"] = [{"name": "g", "event": draw(_EVENTS), "when": "event.x > 1"}]
    if draw(st.integers(0, 3)) == 0:
        made["exit"] = [{"name": "e", "when": "contact.flag == 'on'"}]
    made["steps"] = _numbered(draw(_steps(2).filter(bool)), [0])
    return made


_happenings = st.lists(
    st.tuples(
        st.integers(0, 3),
        _EVENTS,
        st.fixed_dictionaries(
            {
                "x": st.integers(0, 3),
                "k": st.sampled_from(["p", "q"]),
                "items": st.lists(st.just("i"), max_size=3),
            }
        ),
    ),
    min_size=2,
    max_size=10,  # so many of each the machine keeps for those who look back
)


_rulings = st.dictionaries(
    st.sampled_from(["a", "b"]), st.integers(1, 3), min_size=1, max_size=2
).map(lambda weights: dict(sorted(weights.items())))


def _ruled(world: World, reference: Reference, weights: dict[str, int]) -> None:
    """Decide something of every experiment; one weight alone is a winner."""
    for compiled in world.catalog.all("scenario", "t").values():
        for one in compiled.experiments:
            alone = next(iter(weights)) if len(weights) == 1 else ""
            world.catalog.put("experiment", one.key, Ruling(alone, {} if alone else weights))
            reference.rulings[f"{one.scenario}/{one.step}"] = weights


@settings(max_examples=100, deadline=None)
@given(_scenario("one"), _scenario("two"), _happenings, st.none() | _rulings)
def test_the_machine_and_the_reference_agree_on_every_send(
    one: dict[str, Any],
    two: dict[str, Any],
    happenings: list[tuple[int, str, dict[str, Any]]],
    weights: dict[str, int] | None,
) -> None:
    texts = [json.dumps(one), json.dumps(two)]  # JSON is YAML
    if any(examine(text)[1] for text in texts):
        note("a scenario with mistakes")
        return
    world, reference = World(*texts), Reference([one, two])
    world.give("c", ContactPut({"email": "c@example.com"}))
    reference.inputs += 1
    now = 0
    for number, (hours, name, data) in enumerate(happenings):
        if weights is not None and number == len(happenings) // 2:
            _ruled(world, reference, weights)
        now += hours * HOUR
        world.until(now)
        reference.until(now)
        world.give("c", Event(name, now, data))
        reference.event(name, data)
    world.drain()
    reference.drain()
    sent = [(at, send.scenario, send.step, identity) for at, _, identity, send in world.sent]
    assert reference.sent == sent
    assert reference.attributes == {
        key: value for key, value in world.contact("c").attributes.items() if key != "email"
    }
    note(f"{min(len(sent), 5)} sends")
