"""Proofs: what passes, what differs, what is covered, which damage is noticed."""

from __future__ import annotations

import pytest

from engine.errors import InputError
from scenarios.checking import load
from scenarios.proof.mutation import mutants
from scenarios.proof.reading import read_suite
from scenarios.proof.showing import shown
from scenarios.proof.suite import Proof, prove

CART = """
scenario: cart
entry:
  event: cart.updated
  when: event.value >= 2000
goal: order.placed
steps:
  - id: hours
    wait: 4h
  - id: reminder
    send: {template: cart-reminder, topic: offers}
  - id: look
    wait_for:
      - event: mail.clicked
        then:
          - id: points
            score: {name: keen, add: 5}
          - id: tell
            notify: {channel: sales}
    timeout: 2d
    else:
      - id: note
        update: {cart: left}
      - end: not interested
"""
GIVEN = "given: {at: 2026-03-02 09:00, contact: {email: a@b.example}, consents: [offers]}\n"
OPENED = "when: [{at: 0s, event: cart.updated, data: {value: 5000}}"
REMINDS = f"""
  - name: reminds
    {OPENED}]
    then:
      sends: [{{step: reminder, at: 4h}}]
      ended: [{{reason: not interested, at: 2d4h}}]
      contact: {{cart: left}}
"""


def _proof(cases: str, *, scenario: str = CART, mutate: bool = False) -> Proof:
    loaded = load(scenario)
    suite, mistakes = read_suite(f"{GIVEN}cases:{cases}", "t.yaml", loaded)
    assert mistakes == []
    assert suite is not None
    return prove(loaded, suite, mutate=mutate)


def _lines(cases: str) -> list[tuple[str, str]]:
    [verdict] = _proof(cases).verdicts
    return [(line.sign, line.text) for line in verdict.timeline]


def _remarks(cases: str) -> list[str]:
    return [remark for verdict in _proof(cases).verdicts for remark in verdict.remarks]


def test_a_case_passes_when_all_is_as_it_says() -> None:
    assert _proof(REMINDS).failed == ()


def test_a_mail_at_another_time_is_missing_once_and_too_many_once() -> None:
    case = f"""
  - name: too late
    {OPENED}]
    then: {{sends: [{{step: reminder, at: 5h}}]}}
"""
    assert _lines(case) == [
        ("+", "send reminder (cart-reminder)"),
        ("-", "send reminder"),
        (" ", "ended: not interested"),
    ]
    text = shown(_proof(case), "t.yaml")
    assert "FAIL  too late (t.yaml:3)" in text
    assert "+ +4h          Mon 2026-03-02 13:00  send reminder (cart-reminder)" in text


def test_a_mail_that_nobody_expects_fails_a_case() -> None:
    assert ("+", "send reminder (cart-reminder)") in _lines(f"""
  - name: silent
    {OPENED}]
    then: {{}}
""")


def test_consent_cap_and_suppression_are_asked_at_the_hand_over() -> None:
    refused = f"""
  - name: withdrawn
    {OPENED}, {{at: 1h, withdraw: offers}}]
    then: {{not_sent: [{{step: reminder, reason: no_consent, at: 4h}}]}}
  - name: suppressed
    {OPENED}, {{at: 1h, suppress: all}}]
    then: {{not_sent: [{{step: reminder, reason: suppressed}}]}}
  - name: capped
    given: {{settings: {{caps: [{{limit: 0, period: day}}]}}}}
    {OPENED}]
    then: {{not_sent: [{{step: reminder, reason: cap}}]}}
  - name: erased
    {OPENED}, {{at: 1h, erase: true}}]
    then: {{ended: [{{reason: erased, at: 1h}}]}}
  - name: no address
    given: {{contact: {{email: null}}}}
    {OPENED}]
    then: {{not_sent: [{{step: reminder, reason: no_address, at: 4h}}]}}
"""
    assert _proof(refused).failed == ()


def test_quiet_hours_and_outages_move_a_mail_and_a_purchase_cancels_it() -> None:
    moved = f"""
  - name: quiet
    given: {{at: 2026-03-02 20:00, settings: {{quiet_hours: {{from: "22:00", to: "08:00"}}}}}}
    {OPENED}]
    then: {{sends: [{{step: reminder, at: 2026-03-03 08:00}}]}}
  - name: outage
    {OPENED}, {{at: 3h, outage: 5h}}]
    then: {{sends: [{{step: reminder, at: 8h}}]}}
  - name: cancelled
    {OPENED}, {{at: 3h, outage: 5h}}, {{at: 6h, event: order.placed}}]
    then: {{not_sent: [{{step: reminder, reason: cancelled, at: 6h}}]}}
  - name: too old
    {OPENED}, {{at: 3h, outage: 80h}}]
    then: {{not_sent: [{{step: reminder, reason: expired, at: 83h}}]}}
"""
    assert _proof(moved).failed == ()


def test_a_deferred_mail_goes_once_and_holds_its_place_under_a_cap() -> None:
    """The first permit is the hand-over; what is tried again isn't another mail."""
    case = f"""
  - name: deferred
    given: {{settings: {{caps: [{{limit: 1, window: 1d}}]}}}}
    {OPENED}, {{mail: reminder, outcome: deferred, after: 30m}},
      {{mail: reminder, outcome: bounced, after: 1m}}]
    then: {{sends: [{{step: reminder, at: 4h}}]}}
"""
    assert _proof(case).failed == ()


def test_a_script_that_never_comes_about_is_told() -> None:
    assert _remarks(f"""
  - name: never
    {OPENED}, {{at: 1h, event: order.placed}}, {{mail: reminder, outcome: bounced}}]
    then: {{}}
""") == ["the reminder that `when` speaks of was never handed over"]


def test_state_at_the_end_is_compared() -> None:
    assert _remarks(f"""
  - name: state
    {OPENED}, {{at: 5h, event: mail.clicked}}]
    then:
      sends: [reminder]
      notified: [sales]
      opened: 2
      standing: [look]
      tags: [keen]
      contact: {{cart: left}}
      scores: {{keen: 6}}
""") == [
        "expected 2 journeys to open, got 1",
        "journeys standing at: expected ['look'], got []",
        "tags: expected ['keen'], got []",
        "contact.cart: expected 'left', got None",
        "score keen: expected 6, got 5.00",
    ]


def test_what_no_case_takes_is_named() -> None:
    coverage = _proof(REMINDS).coverage
    assert coverage.missed == (
        "step points",
        "step tell",
        "branch look: mail.clicked",
        "branch goal:order.placed",
    )
    assert (coverage.steps_taken, coverage.steps) == (5, 7)
    assert coverage.percent == pytest.approx(60)


def test_loops_and_splits_count_their_branches() -> None:
    loop = """
scenario: loop
entry: a
steps:
  - id: twice
    repeat: 2
    steps:
      - id: day
        wait: 1d
  - id: ways
    split: [{name: left, weight: 1}, {name: right, weight: 1}]
"""
    cases = "\n  - {name: a, when: [{at: 0s, event: a}], then: {}}\n"
    coverage = _proof(cases, scenario=loop).coverage
    assert len(coverage.missed) == 1
    assert coverage.missed[0].startswith("branch ways: ")
    assert coverage.branches == 4


def test_a_weak_case_lets_mutants_live_and_a_strong_one_does_not() -> None:
    weak = f"""
  - name: weak
    {OPENED}]
    then: {{sends: [reminder]}}
"""
    strong = f"""{REMINDS}
  - name: points
    {OPENED}, {{at: 5h, event: mail.clicked}}, {{at: 9d, event: cart.updated, data: {{value: 9000}}}}]
    then:
      sends: [reminder]
      notified: [sales]
      ended: [{{reason: done, at: 5h}}]
      opened: 1
      scores: {{keen: 5}}
  - name: small
    when: [{{at: 0s, event: cart.updated, data: {{value: 1999}}}}]
    then: {{opened: 0}}
  - name: bought
    {OPENED}, {{at: 1h, event: order.placed}}]
    then: {{ended: ["goal:order.placed"]}}
  - name: capped
    given: {{settings: {{caps: [{{limit: 0, window: 4d}}]}}}}
    {OPENED}]
    then: {{not_sent: [{{step: reminder, reason: cap, at: 4h}}]}}
"""
    survivors = _proof(weak, mutate=True).survivors
    assert "goal order.placed removed" in survivors
    assert "hours: 4h made 8h" in survivors
    assert "reminder dropped" not in survivors
    proof = _proof(strong, mutate=True)
    assert proof.failed == ()
    assert proof.survivors == ()
    assert proof.mutants == len(list(mutants(load(CART))))


def test_every_mutant_differs_from_the_scenario() -> None:
    scenario = load(CART)
    made = list(mutants(scenario))
    assert all(mutant.scenario.version != scenario.version for mutant in made)
    assert len({mutant.damage for mutant in made}) == len(made)


def test_a_case_without_an_end_is_refused_with_its_line() -> None:
    pair = """
scenario: spin
entry: a
reentry: always
steps:
  - id: round
    repeat: 1000
    steps:
      - id: hour
        wait: 1h
      - id: inner
        repeat: 1000
        steps:
          - id: minute
            wait: 1m
"""
    with pytest.raises(InputError, match="takes more than") as caught:
        _proof("\n  - {name: a, when: [{at: 0s, event: a}], then: {}}\n", scenario=pair)
    assert caught.value.place.line == 3


def test_a_failing_suite_is_not_mutated() -> None:
    proof = _proof(f"\n  - name: a\n    {OPENED}]\n    then: {{}}\n", mutate=True)
    assert proof.failed
    assert proof.mutants is None
