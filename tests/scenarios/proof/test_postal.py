"""The message side of a rehearsal tells a contact the same as the message machine of production."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

import pytest

from actors.cli.proving import Subject, library, read_subject
from deliverability.message.machine import MessageMachine
from deliverability.message.records import AttemptOutcome
from engine.keyspace import CONTACT, EntityKey, contact_key, kind_of
from engine.machine import At, Context, Credit, Emit, Granted, Ready, Record, Release, Tell, Wake
from engine.vocabulary import Call, CallAnswered, Consent
from scenarios.compiling import compile_scenario
from scenarios.contact import ContactMachine
from scenarios.proof.case import Case
from scenarios.proof.rehearsal import Published, rehearse
from scenarios.state import Contact, Points

GRANT = Granted(Credit(b"egress", 1, 2_000))


class Production:
    """One contact and its messages, both by their machines; an egress that always delivers, but for outages."""

    def __init__(self, case: Case, catalog: dict[str, Any]) -> None:
        self.case = case
        self.context = Context(Published(catalog, case.given.settings))
        self.contact = contact_key("test", case.given.contact_id)
        self.states: dict[EntityKey, Any] = {self.contact: _contact(case)}
        self.places: dict[EntityKey, Any] = {}
        self.due: list[tuple[int, int, int, EntityKey, Any]] = []
        self.ordinal = 0
        self.answers = list(case.answers)
        self.lines: list[tuple[int, str, str]] = []

    def run(self) -> list[tuple[int, str, str]]:
        for event in self.case.given.history:
            self._push(self.case.given.at, 2, self.contact, event)
        for one in self.case.inputs:
            self._push(one.at, 2, self.contact, one.body)
        while self.due:
            at, _, _, key, body = heapq.heappop(self.due)
            if self.case.until and at > self.case.until:
                break
            if isinstance(body, Wake) and self.places.get(key) != At(at):
                continue
            if isinstance(body, Granted) and (until := self._outage(at)):
                self._push(until, 1, key, body)
            elif not isinstance(body, Granted) or isinstance(self.places.get(key), Ready):
                self._unit(at, key, body)
        return sorted(self.lines)

    def _outage(self, at: int) -> int:
        return next((one.until for one in self.case.outages if one.at <= at < one.until), 0)

    def _push(self, at: int, rank: int, key: EntityKey, body: Any) -> None:
        self.ordinal += 1
        heapq.heappush(self.due, (at, rank, self.ordinal, key, body))

    def _unit(self, at: int, key: EntityKey, body: Any) -> None:
        units = deque([(key, body)])
        self.ordinal += 1
        self.context.now, self.context.input_id = at, self.ordinal.to_bytes(16)
        while units:
            key, body = units.popleft()
            self.context.key = key
            machine = ContactMachine() if kind_of(key) == CONTACT else MessageMachine()
            before = self.states.get(key)
            transition = machine.decide(before, body, self.context)
            self.states[key] = transition.state
            self._stand(at, key, transition.place)
            for effect in transition.effects:
                match effect:
                    case Tell():
                        units.append((effect.to, effect.body))
                    case Release():
                        self._note(at, "send", effect.body.step, "")
                        self._push(at, 1, key, AttemptOutcome(effect.body.attempt, "delivered"))
                    case Emit(channel="call", body=call):
                        self._answer(at, call)
                    case Record(fact="send_skipped"):
                        detail = effect.detail
                        self._note(at, "not_sent", detail["step"], detail["reason"])
            open_before = before is None or kind_of(key) == CONTACT or not before.finished
            if open_before and kind_of(key) != CONTACT and transition.state.finished:
                self._finished(at, transition.state)

    def _answer(self, at: int, call: Call) -> None:
        """Let the script answer the call, or take it at once."""
        mine = [one for one in self.answers if one.step == call.step]
        status, after, fields = 200, 0, {}
        if mine:
            self.answers.remove(mine[0])
            status, after, fields = mine[0].status, mine[0].after_ms, mine[0].fields
        if status:
            journey = bytes.fromhex(call.journey)
            body = CallAnswered(journey, call.step, call.visit, status < 300, status, fields)
            self._push(at + after, 2, self.contact, body)

    def _stand(self, at: int, key: EntityKey, place: Any) -> None:
        before = self.places.get(key)
        self.places[key] = place
        if isinstance(place, At) and place != before:
            self._push(place.due, 0 if key == self.contact else 1, key, Wake())
        elif isinstance(place, Ready) and not isinstance(before, Ready):
            self._push(at, 1, key, GRANT)

    def _finished(self, at: int, state: Any) -> None:
        if state.status != "delivered":
            reason = state.reason if state.status == "skipped" else state.status
            self._note(at, "not_sent", state.send.step, reason)

    def _note(self, at: int, what: str, step: str, reason: str) -> None:
        self.lines.append((at, f"{what} {step}", reason))


def _contact(case: Case) -> Contact:
    given = case.given
    consents = {name: Consent(held, given.at - 1) for name, held in given.consents.items()}
    tags = dict.fromkeys(given.tags, given.at)
    scores = {name: Points(value, given.at) for name, value in given.scores.items()}
    return Contact(given.attributes, consents=consents, tags=tags, scores=scores)


def _subjects() -> list[Subject]:
    read = [read_subject(folder / "tests.yaml")[0] for folder in library().values()]
    return [subject for subject in read if subject is not None]


@pytest.mark.parametrize("subject", _subjects(), ids=lambda subject: subject.scenario.name)
def test_every_case_of_the_library_goes_as_with_the_machines_of_production(
    subject: Subject,
) -> None:
    catalog: dict[str, Any] = {subject.scenario.name: compile_scenario(subject.scenario)}
    for case in subject.suite.cases:
        rehearsed = rehearse(case, catalog).timeline
        told = [
            (line.at, f"{line.what} {line.name}", line.detail if line.what == "not_sent" else "")
            for line in rehearsed
            if line.what in {"send", "not_sent"}
        ]
        assert sorted(told) == Production(case, catalog).run(), case.name
