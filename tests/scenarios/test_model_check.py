"""For generated scenarios and event orders, the compiled machine and the reference agree on every send and every end.

Every kind of step is generated, goals and exits that watch events and the state, entries by event and by a condition
that comes true, re-entry, keys, groups and priorities.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.keyspace import name_of
from engine.vocabulary import CALLS, CallAnswered, Cancel, ContactPut, Event
from scenarios.checking import examine
from scenarios.coupons import CodeGiven, NoCode, TakeCode
from scenarios.experiments import Ruling
from scenarios.language import STEP_KINDS
from scenarios.products import ProductList
from tests.scenarios.reference import (
    CONDITIONS,
    DAY,
    HOUR,
    KINDS,
    OF_STATE,
    PRODUCTS,
    VALUES,
    Reference,
)
from tests.scenarios.world import World

Steps = list[dict[str, Any]]

_EVENTS = st.sampled_from(["a", "a", "b"])
_HOURS = st.integers(1, 4).map(lambda hours: f"{hours}h")
_OF_PLACES = ("journey.item", "journey.got", "journey.answer", "journey.code")
_ANYWHERE = [one for one in CONDITIONS if not one.startswith(_OF_PLACES)]
_AFTER_ANSWER = st.sampled_from([one for one in CONDITIONS if one.startswith("journey.answer")])
_AT_STEPS = st.sampled_from(_ANYWHERE)
_AFTER_ROWS = st.sampled_from([one for one in CONDITIONS if "journey.rows" in one])
_AFTER_GOT = st.sampled_from([*_ANYWHERE, "journey.got.x > 1", "journey.got.x > 1"])
_IN_LOOP = st.sampled_from(["journey.item == 'j'", *_ANYWHERE])
_AT_ENTRY = st.sampled_from([one for one in CONDITIONS if "journey" not in one])
_OF_STATE = st.sampled_from(OF_STATE)
_NAMES = st.sampled_from(["one", "two"])


def _optional(draw: Any, target: dict[str, Any], key: str, values: st.SearchStrategy[Any]) -> None:
    if draw(st.booleans()):
        target[key] = draw(values)


# ---- steps


@st.composite
def _wait(draw: Any) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"wait": draw(_HOURS)}
    calendar: dict[str, Any] = {}
    if draw(st.booleans()):
        calendar["date"] = "contact.day"
        _optional(draw, calendar, "offset", st.integers(-1, 1))
        _optional(draw, calendar, "past", st.sampled_from(["end", "go-on"]))
    else:
        _optional(draw, calendar, "for", _HOURS)
    if not calendar or draw(st.booleans()):
        calendar["at"] = draw(st.sampled_from(["03:00", "09:00"]))
    return {"wait": calendar}


@st.composite
def _waiter(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    made: dict[str, Any] = {"event": draw(_EVENTS), "then": draw(inner)}
    _optional(draw, made, "when", _AT_STEPS)
    if draw(st.booleans()):
        made["as"] = "got"
        made["then"] = [{"if": draw(_AFTER_GOT), "then": draw(inner), "else": []}, *made["then"]]
    return made


@st.composite
def _wait_for(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    step: dict[str, Any] = {"wait_for": draw(st.lists(_waiter(inner), min_size=1, max_size=2))}
    if draw(st.booleans()):
        step |= {"timeout": draw(_HOURS), "else": draw(inner)}
    _optional(draw, step, "since", st.sampled_from(["entry", "step", "3h"]))
    return step


@st.composite
def _branch(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"if": draw(_AT_STEPS), "then": draw(inner), "else": draw(inner)}
    cases = [{"when": draw(_AT_STEPS), "then": draw(inner)} for _ in range(draw(st.integers(1, 2)))]
    return {"switch": cases, "else": draw(inner)}


@st.composite
def _draw(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
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


@st.composite
def _loop(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    if draw(st.booleans()):
        branch = {"if": draw(_IN_LOOP), "then": draw(inner), "else": draw(inner)}
        steps = draw(st.permutations([branch, *draw(inner)]))
        return {"for_each": "event.items", "as": "item", "steps": steps, "limit": 2}
    step = {"repeat": draw(st.integers(1, 3)), "steps": [{"wait": draw(_HOURS)}, *draw(inner)]}
    _optional(draw, step, "while", _AT_STEPS)
    return step


@st.composite
def _webhook(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    """Call, and look at the answer on both ways."""
    spec: dict[str, Any] = {"endpoint": "desk"}
    _optional(draw, spec, "data", st.sampled_from(sorted(VALUES)).map(lambda one: {"v": one}))
    step: dict[str, Any] = {"webhook": spec, "else": draw(inner)}
    _optional(draw, step, "timeout", _HOURS)
    after = []
    if draw(st.booleans()):
        spec |= {"as": "answer", "keep": draw(st.sampled_from([["owner"], ["other"]]))}
        after = [{"if": draw(_AFTER_ANSWER), "then": draw(inner), "else": draw(inner)}]
    return {"if": draw(_AT_STEPS), "then": [step, *after], "else": draw(inner)}


@st.composite
def _coupon(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    """Ask for a code, and look at it."""
    spec: dict[str, Any] = {"pool": "spring", "as": "code"}
    _optional(draw, spec, "timeout", _HOURS)
    look = {"if": "journey.code == 'gold'", "then": draw(inner), "else": draw(inner)}
    step = {"coupon": spec, "else": draw(inner)}
    return {"if": draw(_AT_STEPS), "then": [step, look], "else": draw(inner)}


@st.composite
def _products(draw: Any, inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    """Look rows up, and look at them; one of two lists is there."""
    spec: dict[str, Any] = {"keys": "event.items", "as": "rows"}
    spec["from"] = draw(st.sampled_from(["shop", "shop", "none"]))
    _optional(draw, spec, "instead", st.lists(st.sampled_from(["i", "z", "q"]), max_size=2))
    _optional(draw, spec, "limit", st.integers(1, 2))
    look = {"if": draw(_AFTER_ROWS), "then": draw(inner), "else": draw(inner)}
    step = {"products": spec, "else": draw(inner)}
    return {"if": draw(_AT_STEPS), "then": [step, look], "else": draw(inner)}


_SEND = st.just({"send": {"template": "x", "topic": "n"}})
_DAYS = st.sampled_from(["1970-01-01", "1970-01-02"])
_simple: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _SEND,
    _SEND,
    _SEND,
    _wait(),
    st.sampled_from(["on", "off"]).map(lambda value: {"update": {"flag": value}}),
    _DAYS.map(lambda day: {"update": {"day": day}}),
    st.sampled_from(sorted(VALUES)).map(lambda value: {"update": {"worked_out": value}}),
    st.sampled_from(["add", "remove"]).map(lambda key: {"tag": {key: ["t"]}}),
    st.just({"score": {"name": "s", "add": 1}}),
    st.just({"start": "two"}),  # and in scenario two it is one
    _NAMES.map(lambda name: {"stop": name}),
    st.just({"notify": "desk"}),
)


def _steps(depth: int) -> st.SearchStrategy[Steps]:
    one = _simple
    if depth:
        inner = _steps(depth - 1)
        one = st.one_of(
            _simple,
            _wait_for(inner),
            _branch(inner),
            _loop(inner),
            _draw(inner),
            st.one_of(_webhook(inner), _coupon(inner), _products(inner)),
        )
    ends = st.sampled_from([[], [], [], [{"end": "done"}]])
    return st.builds(list.__add__, st.lists(one, min_size=depth, max_size=3), ends)


def _numbered(steps: Steps, counter: list[int]) -> Steps:
    """Give every step its id; what is nested stays nested."""
    made = []
    for step in steps:
        counter[0] += 1
        copy: dict[str, Any] = {"id": f"s{counter[0]}"}
        for key, value in step.items():
            if key in {"then", "else", "steps"}:
                copy[key] = _numbered(value, counter)
            elif key in {"wait_for", "switch", "split", "experiment"}:
                copy[key] = [{**part, "then": _numbered(part["then"], counter)} for part in value]
            else:
                copy[key] = value
        made.append(copy)
    return made


def _kinds(steps: Steps) -> set[str]:
    found = set()
    for step in steps:
        found |= step.keys() & KINDS.keys()
        for key, value in step.items():
            if key in {"then", "else", "steps"}:
                found |= _kinds(value)
            elif key in {"wait_for", "switch", "split", "experiment"}:
                found |= {kind for part in value for kind in _kinds(part["then"])}
    return found


# ---- scenarios


@st.composite
def _watch(draw: Any, name: str) -> dict[str, Any]:
    watch: dict[str, Any] = {"name": name}
    if draw(st.booleans()):
        watch |= {"event": draw(_EVENTS), "when": draw(_AT_STEPS)}
    else:
        watch["when"] = draw(_OF_STATE)
    return watch


@st.composite
def _scenario(draw: Any, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"event": draw(_EVENTS)}
    if draw(st.integers(0, 2)) == 0:
        entry["when"] = draw(_AT_ENTRY)
    entries = [entry]
    if draw(st.integers(0, 2)) == 0:
        entries.append({"event": draw(_EVENTS)})
    if draw(st.integers(0, 2)) == 0:
        entries.append({"becomes": draw(_OF_STATE)})
    made: dict[str, Any] = {"scenario": name, "entry": entries}
    rules = st.sampled_from(["never", "always", "restart", {"after": "3h"}])
    made["reentry"] = draw(rules)
    _optional(draw, made, "key", st.just("event.k"))
    _optional(draw, made, "priority", st.integers(-1, 1))
    _optional(draw, made, "group", st.just("g"))
    if draw(st.integers(0, 3)) == 0:
        made["goal"] = [draw(_watch("g"))]
    if draw(st.integers(0, 3)) == 0:
        made["exit"] = [draw(_watch("e1")), draw(_watch("e2"))]
    made["steps"] = _numbered(draw(_steps(2)), [0])
    return made


def _turned(scenario: Any) -> Any:
    """Let the second scenario start the first, where it would start itself."""
    match scenario:
        case {"start": "two"}:
            return {**scenario, "start": "one"}
        case dict():
            return {key: _turned(value) for key, value in scenario.items()}
        case list():
            return [_turned(one) for one in scenario]
        case _:
            return scenario


_data = st.fixed_dictionaries(
    {
        "x": st.integers(0, 3),
        "k": st.sampled_from(["p", "q"]),
        "items": st.lists(st.sampled_from(["i", "j"]), max_size=3),
    },
    optional={"y": st.integers(0, 1)},
)
_attributes = st.fixed_dictionaries(
    {}, optional={"flag": st.sampled_from(["on", "off"]), "day": _DAYS}
)
_answers = st.tuples(
    st.integers(0, 3), st.sampled_from([200, 200, 204, 422]), st.just({"owner": "o", "more": 1})
)
_happenings = st.lists(
    st.tuples(st.integers(0, 6), st.one_of(st.tuples(_EVENTS, _data), _attributes, _answers)),
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


def _answer(
    world: World, reference: Reference, number: int, status: int, fields: dict[str, Any]
) -> None:
    """Answer one of the newest calls, and one of the newest questions for a code; again, maybe."""
    asks = [one.body for one in world.told if isinstance(one.body, TakeCode)]
    if number < len(asks):
        ask, code = asks[-1 - number], "gold" if status == 200 else "tin"
        place = (ask.journey, ask.step, ask.visit, "spring")
        none = NoCode(*place, "empty")
        world.give("c", none if status == 422 else CodeGiven(*place, code))
        reference.code(len(asks) - 1 - number, None if status == 422 else code)
    calls = [one.body for one in world.emitted if one.channel == CALLS]
    if number < len(calls):
        call = calls[-1 - number]
        journey, taken = bytes.fromhex(call.journey), status < 300
        answer = CallAnswered(journey, call.step, call.visit, taken, status, fields)
        world.give("c", answer)
        reference.answer(len(calls) - 1 - number, status, fields)


@settings(max_examples=150, deadline=None)
@given(
    _scenario("one"),
    _scenario("two").map(_turned),
    _happenings,
    st.booleans(),
    st.none() | _rulings,
)
def test_the_machine_and_the_reference_agree(
    one: dict[str, Any],
    two: dict[str, Any],
    happenings: list[tuple[int, Any]],
    as_text: bool,
    weights: dict[str, int] | None,
) -> None:
    texts = [json.dumps(one), json.dumps(two)]  # JSON is YAML
    if any(examine(text)[1] for text in texts):
        note("a scenario with mistakes")
        return
    world, reference = World(*texts), Reference([one, two])
    columns = ("sku", "n")
    world.catalog.put("products", "shop", ProductList("sku", columns, PRODUCTS))
    world.give("c", ContactPut({"email": "c@example.com"}))
    reference.inputs += 1
    now = 0
    for number, (hours, happening) in enumerate(happenings):
        if weights is not None and number == len(happenings) // 2:
            _ruled(world, reference, weights)
        now += hours * HOUR
        world.until(now)
        reference.until(now)
        if isinstance(happening, dict):
            world.give("c", ContactPut(happening))
            reference.put(happening)
        elif len(happening) == 3:
            _answer(world, reference, *happening)
        else:
            name, data = happening
            body = json.dumps(data).encode() if as_text else data
            world.give("c", Event(name, now, body))
            reference.event(name, data)
    now += 20 * DAY  # scenarios that start each other have no end
    world.until(now)
    reference.until(now)
    sent = [(at, send.scenario, send.step, identity) for at, _, identity, send in world.sent]
    assert reference.sent == sent
    ended = [(one["scenario"], one["reason"]) for one in world.facts("journey_ended")]
    assert [(name, reason) for _, name, reason in reference.ended] == ended
    calls = [one.body for one in world.emitted if one.channel == CALLS]
    assert reference.calls == [
        (one.at, one.scenario, one.step, one.visit, one.data) for one in calls
    ]
    asks = [one.body for one in world.told if isinstance(one.body, TakeCode)]
    assert reference.asks == [(one.scenario, one.step, one.visit) for one in asks]
    told = [one.body for one in world.emitted if one.channel == "notify.desk"]
    assert reference.told == [(one["at"], one["scenario"], one["step"]) for one in told]
    cancelled = {name_of(tell.to) for tell in world.told if isinstance(tell.body, Cancel)}
    assert reference.cancelled == cancelled
    assert reference.contact.attributes == {
        key: value for key, value in world.contact("c").attributes.items() if key != "email"
    }
    note(f"{min(len(sent), 5)} sends")
    for kind in _kinds(one["steps"]):
        note(kind)


def test_every_kind_of_step_has_a_reference() -> None:
    assert set(STEP_KINDS) <= set(KINDS)
