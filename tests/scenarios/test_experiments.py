"""Experiments: contacts keep their variant, what they do counts once, and decisions follow the plan."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from engine.vocabulary import ContactPut, Event
from scenarios.checking import check, load
from scenarios.experiments import Experiment, Ruling, experiments_of, judged, needed
from tests.scenarios.world import World

DAY = 86_400_000
TEXT = """
scenario: s
entry: e
reentry: always
steps:
  - id: which
    experiment:
      - {name: plain, weight: 45}
      - {name: picture, weight: 45, then: [{id: m, tag: pictured}]}
      - {name: nothing, weight: 10}
    metric: order.placed
    within: 7d
    holdout: nothing
    decide: {DECIDE}
    guard: {complaints: 1, after: 100}
"""
FIXED = TEXT.replace("{DECIDE}", "{baseline: 10, effect: 5}")
THOMPSON = TEXT.replace("{DECIDE}", "{method: thompson, least: 50}")


def plan(text: str = FIXED) -> Experiment:
    [found] = experiments_of(load(text))
    return found


def counts(**of: tuple[int, int]) -> dict[str, int]:
    made: dict[str, int] = {}
    for name, (contacts, converted) in of.items():
        made |= {f"{name}:assigned": contacts, f"{name}:converted": converted}
    return made


# ---- contacts


def assigned(world: World, number: int, first: int = 0) -> dict[str, str]:
    """Let contacts in; give each one's variant as it was drawn."""
    found = {}
    for n in range(first, first + number):
        world.give(f"c{n}", Event("e", 0))
        found[f"c{n}"] = world.facts("variant_drawn")[-1]["variant"]
    return found


def test_assignment_is_by_hash_by_weight_and_for_good() -> None:
    world, again = World(FIXED), World(FIXED)
    first = assigned(world, 2000)
    assert first == assigned(again, 2000)
    shares = Counter(first.values())
    assert shares["nothing"] == pytest.approx(200, abs=45)
    assert shares["plain"] == pytest.approx(900, abs=80)
    world.catalog.put("experiment", plan().key, Ruling("picture"))
    assert assigned(world, 2000) == first


def test_who_comes_after_a_decision_gets_the_winner_but_for_the_holdout() -> None:
    world, undecided = World(FIXED), World(FIXED)
    world.catalog.put("experiment", plan().key, Ruling("picture"))
    later, else_ = assigned(world, 500), assigned(undecided, 500)
    for name, variant in later.items():
        assert variant == ("nothing" if else_[name] == "nothing" else "picture")
    assert Counter(else_.values())["nothing"] > 20


def test_other_weights_are_kept_to() -> None:
    world = World(THOMPSON)
    world.catalog.put("experiment", plan(THOMPSON).key, Ruling(weights={"plain": 1, "picture": 9}))
    shares = Counter(assigned(world, 2000).values())
    assert shares["picture"] / (shares["plain"] + shares["picture"]) == pytest.approx(0.9, abs=0.03)


def told(world: World) -> Counter[str]:
    found = [one.body for one in world.emitted if one.channel == "experiment"]
    return Counter(f"{one['variant']}:{one['what']}" for one in found)


def test_what_a_contact_does_counts_once_within_the_time() -> None:
    world = World(FIXED)
    variant = assigned(world, 1)["c0"]
    for _ in range(2):
        world.give("c0", Event("order.placed", 0))
    world.give("other", Event("order.placed", 0))
    assert told(world) == {f"{variant}:assigned": 1, f"{variant}:converted": 1}
    late = World(FIXED)
    variant = assigned(late, 1)["c0"]
    late.until(7 * DAY + 1)
    late.give("c0", Event("order.placed", 0))
    assert told(late) == {f"{variant}:assigned": 1}


def test_complaints_count_for_the_scenario_whose_mail_it_was() -> None:
    world = World(FIXED)
    variant = assigned(world, 1)["c0"]
    world.give("c0", Event("mail.complained", 0, {"scenario": "other"}))
    world.give("c0", Event("mail.unsubscribed", 0, {"scenario": "s", "by": "scanner"}))
    world.give("c0", Event("mail.complained", 0, {"scenario": "s"}))
    assert told(world) == {f"{variant}:assigned": 1, f"{variant}:complained": 1}


def test_a_historical_event_counts_for_nothing() -> None:
    world = World(FIXED)
    assigned(world, 1)
    world.give("c0", Event("order.placed", 0, historical=True))
    assert sum(told(world).values()) == 1


def test_trials_survive_what_is_stored() -> None:
    from scenarios.state import Contact

    world = World(FIXED)
    world.give("c0", ContactPut({"email": "c@example.com"}))
    assigned(world, 1)
    state = world.contact("c0")
    raw = msgspec.msgpack.encode(state)
    assert msgspec.msgpack.decode(raw, type=Contact).trials == state.trials != {}


# ---- decisions


def test_a_fixed_test_waits_for_its_contacts_and_their_time() -> None:
    number = needed(plan())
    assert number == 686
    few = judged(plan(), counts(plain=(number - 1, 60), picture=(number, 200)), (), Ruling(), 0, 1)
    assert (few.state, few.ruling, few.full_at) == ("running", None, 0)
    full = counts(plain=(number, 60), picture=(number, 200))
    waits = judged(plan(), full, (), Ruling(), 0, DAY)
    assert (waits.state, waits.full_at) == ("running", DAY)
    decided = judged(plan(), full, (), Ruling(), DAY, 8 * DAY)
    assert (decided.state, decided.ruling) == ("decided", Ruling("picture"))
    assert "picture is better than plain" in decided.why


def test_what_shows_nothing_is_decided_for_the_control() -> None:
    number = needed(plan())
    even = counts(plain=(number, 70), picture=(number, 75))
    found = judged(plan(), even, (), Ruling(), 1, 8 * DAY)
    assert (found.state, found.ruling) == ("decided", Ruling("plain"))
    assert "nothing is shown" in found.why


def test_thompson_shifts_weights_and_decides() -> None:
    young = counts(plain=(49, 5), picture=(400, 60))
    assert judged(plan(THOMPSON), young, (), Ruling(), 0, 1).ruling is None
    leaning = counts(plain=(200, 20), picture=(200, 26))
    shifted = judged(plan(THOMPSON), leaning, (), Ruling(), 0, 1)
    assert shifted.state == "running"
    assert shifted.ruling is not None
    weights = shifted.ruling.weights
    assert sum(weights.values()) == 10_000
    assert weights["picture"] > weights["plain"] >= 450
    again = judged(plan(THOMPSON), leaning, (), shifted.ruling, 0, 1)
    assert again.ruling is None  # nothing has moved: no version of the catalog for it
    clear = counts(plain=(1000, 100), picture=(1000, 160))
    decided = judged(plan(THOMPSON), clear, (), shifted.ruling, 0, 1)
    assert (decided.state, decided.ruling) == ("decided", Ruling("picture"))


def test_guard_rails_put_variants_out() -> None:
    bad = counts(plain=(300, 0), picture=(300, 60)) | {"picture:complained": 12}
    one_left = judged(plan(), bad, (), Ruling(), 0, 1)
    assert (one_left.state, one_left.ruling) == ("decided", Ruling("plain"))
    assert one_left.dropped == ("picture",)
    assert "guard rails: picture" in one_left.why
    some = counts(plain=(300, 0), picture=(300, 60)) | {"picture:complained": 4}
    assert judged(plan(), some, (), Ruling(), 0, 1).dropped == ()  # 1.3 %, which chance may do
    worse = bad | {"plain:complained": 30}
    stopped = judged(plan(), worse, (), Ruling(), 0, 1)
    assert (stopped.state, stopped.ruling) == ("stopped", Ruling("nothing"))


def test_of_three_the_one_that_is_out_gets_no_weight() -> None:
    text = FIXED.replace("- {name: nothing", "- {name: third, weight: 45}\n      - {name: nothing")
    bad = counts(plain=(300, 0), picture=(300, 60), third=(300, 3)) | {"picture:complained": 12}
    found = judged(plan(text), bad, (), Ruling(), 0, 1)
    assert (found.state, found.dropped) == ("running", ("picture",))
    assert found.ruling == Ruling(weights={"plain": 45, "third": 45})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("holdout: nothing", "holdout: nobody"), "no such variant"),
        (("metric: order.placed", ""), "nothing is measured"),
        (("baseline: 10, ", ""), "needs the share expected"),
        (("effect: 5", "effect: 95"), "no test can tell"),
        (("effect: 5", "effect: 0"), "percent, above 0"),
        (("- {name: plain, weight: 45}\n", "\n"), "a decision needs two variants"),
        (("decide: {baseline: 10, effect: 5}", ""), "nothing is decided here"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_a_mistake(change: tuple[str, str], told: str) -> None:
    mistakes = check(FIXED.replace(*change))
    assert told in " ".join(mistake.message for mistake in mistakes)


def test_other_variants_make_another_experiment() -> None:
    assert plan().key.startswith("s/which@")
    assert plan(FIXED.replace("weight: 45", "weight: 40")).key == plan().key
    assert plan(FIXED.replace("name: picture", "name: photo")).key != plan().key
    assert plan(FIXED.replace("order.placed", "order.paid")).key != plan().key
