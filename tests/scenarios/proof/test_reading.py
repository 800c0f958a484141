"""Test files: read with their times, and every mistake at its place with a proposal."""

from __future__ import annotations

import datetime as dt

import pytest

from scenarios.checking import load
from scenarios.mistakes import Mistake
from scenarios.proof.case import Case, Suite
from scenarios.proof.reading import CASES_MAX, read_suite

SCENARIO = load(
    """
scenario: cart
entry: cart.updated
steps:
  - id: hours
    wait: 4h
  - id: reminder
    send: {template: cart-reminder, topic: offers}
  - id: tell
    notify: sales
"""
)


def _read(text: str) -> Suite:
    suite, mistakes = read_suite(text, "t.yaml", SCENARIO)
    assert mistakes == []
    assert suite is not None
    return suite


def _mistakes(case: str) -> list[Mistake]:
    text = "given: {at: 2026-03-02 09:00, contact: {email: a@b.example}}\ncases:\n" + case
    suite, mistakes = read_suite(text, "t.yaml", SCENARIO)
    assert suite is None
    return mistakes


def _ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


def _one(text: str) -> Case:
    return _read(text).cases[0]


def test_times_are_of_the_contacts_zone_or_counted_from_the_beginning() -> None:
    case = _one(
        """
given: {at: 2026-03-28 09:00, contact: {timezone: Europe/Warsaw}}
cases:
  - name: times
    given: {history: [{event: order.placed, at: -2d, times: 3}]}
    when:
      - {at: 0s, event: cart.updated}
      - {at: 1d2h, event: cart.updated}
      - {at: 2026-03-29 02:30, event: cart.updated}
      - {at: 2026-03-30T00:00:00+00:00, event: cart.updated}
    then: {}
"""
    )
    assert case.given.at == _ms("2026-03-28T08:00:00+00:00")
    assert [one.at for one in case.inputs] == [
        _ms("2026-03-28T08:00:00+00:00"),
        _ms("2026-03-29T10:00:00+00:00"),
        _ms("2026-03-29T01:00:00+00:00"),  # the hour is skipped: the first moment after the gap
        _ms("2026-03-30T00:00:00+00:00"),
    ]
    assert [event.at for event in case.given.history] == [_ms("2026-03-26T08:00:00+00:00")] * 3


def test_a_case_adds_to_what_is_given_in_all() -> None:
    case = _one(
        """
given: {at: 2026-03-02 09:00, contact: {email: a@b.example, city: Łódź}, consents: [offers]}
cases:
  - name: adds
    given: {contact: {city: null, age: 30}, consents: {offers: false, news: true}}
    then: {}
"""
    )
    assert case.given.attributes == {"email": "a@b.example", "age": 30}
    assert case.given.consents == {"offers": False, "news": True}


@pytest.mark.parametrize(
    ("case", "line", "column", "message", "mend"),
    [
        (
            "  - name: a\n    then:\n      sends: [remindr]\n",
            5,
            15,
            "there is no `remindr`",
            "did you mean `reminder`?",
        ),
        (
            "  - name: a\n    wen: []\n    then: {}\n",
            4,
            5,
            "unknown key `wen`",
            "did you mean `when`?",
        ),
        (
            "  - name: a\n    when:\n      - {at: 4 hours, event: cart.updated}\n    then: {}\n",
            5,
            14,
            "`4 hours` isn't a time",
            "write `4h` after the beginning, or a time such as `2026-03-29 02:30`",
        ),
        (
            "  - name: a\n    when:\n      - {at: 4h, event: a, erase: true}\n    then: {}\n",
            5,
            9,
            "an action is one thing, this is event and erase",
            "one of event, put, grant, withdraw, suppress, erase, outage, mail, webhook",
        ),
        (
            "  - name: a\n    then:\n      not_sent: [{step: reminder, reason: capp}]\n",
            5,
            43,
            "there is no `capp`",
            "did you mean `cap`?",
        ),
        (
            "  - name: a\n    when:\n      - {mail: reminder, outcome: deferred}\n    then: {}\n",
            5,
            16,
            "a deferred mail is tried again",
            "say after which time, `after: 30m`",
        ),
        (
            "  - name: a\n",
            3,
            5,
            "case has no `then`",
            "add `then:`, what must have happened",
        ),
        (
            "  - name: a\n    given: {settings: {caps: [{limit: 1}]}}\n    then: {}\n",
            4,
            31,
            "a cap has either `window` or `period`",
            "such as `window: 7d`",
        ),
    ],
)
def test_a_mistake_has_its_place_and_its_mend(
    case: str, line: int, column: int, message: str, mend: str
) -> None:
    found = _mistakes(case)
    shown = [(one.line, one.column, one.message, one.mend) for one in found]
    assert (line, column, message, mend) in shown


def test_what_is_before_the_beginning_belongs_to_the_history() -> None:
    [mistake] = _mistakes("  - name: a\n    when: [{at: -1d, event: a}]\n    then: {}\n")
    assert mistake.mend == "put it into `history`"


def test_a_file_without_cases_and_one_with_too_many_are_refused() -> None:
    assert [one.message for one in _mistakes("  []\n")] == ["there are no cases"]
    many = "  - {name: a, then: {}}\n" * (CASES_MAX + 1)
    assert [one.line for one in _mistakes(many)] == [CASES_MAX + 3]
