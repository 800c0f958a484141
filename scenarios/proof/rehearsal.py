"""Run one case: the production contact machine under a virtual clock.

At the same time wakes go first, then mail, then inputs, as in a partition. Everything that one input entails is
decided before the next.
"""

from __future__ import annotations

__all__ = ("INPUTS_MAX", "Happened", "Published", "Rehearsed", "rehearse")

import heapq
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from engine.errors import InputError, Place
from engine.keyspace import contact_key, name_of
from engine.machine import At, Context, Emit, Record, Tell, Wake
from engine.vocabulary import CALLS, Call, CallAnswered, Consent, Permit, Send
from scenarios.compiling import CompiledScenario
from scenarios.contact import ContactMachine
from scenarios.coupons import CodeGiven, ForgetHolder, NoCode, ReturnCode, TakeCode
from scenarios.products import ProductList
from scenarios.proof.case import Answered, Case, Given, What
from scenarios.proof.postal import Post
from scenarios.state import Contact, Points

INPUTS_MAX: Final = 20_000
"""So many inputs of one case; a scenario that takes more doesn't end."""

_TENANT: Final = "test"
_TAKEN: Final = 200
_WAKE, _MAIL, _INPUT = range(3)


class Happened(msgspec.Struct, frozen=True):
    """One line of what happened, as `Expected` has it; `variables` are those of a send's template."""

    at: int
    what: What
    name: str
    detail: str = ""
    variables: Mapping[str, Any] = {}


class Rehearsed(msgspec.Struct, frozen=True):
    """What a case came to: the timeline, the contact at the end, all records, and the script's unused lines."""

    timeline: tuple[Happened, ...]
    contact: Contact
    records: tuple[Record, ...]
    opened: int
    now: int
    unused: tuple[str, ...]


class Published:
    """The catalog of a rehearsal: compiled scenarios and the settings of a case."""

    version = 1

    def __init__(
        self,
        scenarios: Mapping[str, CompiledScenario],
        settings: Any,
        products: Mapping[str, ProductList] | None = None,
    ) -> None:
        self._sections: dict[str, Mapping[str, Any]] = {
            "scenario": scenarios,
            "products": products or {},
        }
        self._settings = settings

    def find(self, section: str, tenant: str, name: str) -> Any:  # noqa: ARG002
        """Give a scenario or the settings; older versions and migrations there are none."""
        if section == "setting":
            return self._settings if name == "contact" else None
        return self._sections["scenario"].get(name) if section == "scenario" else None

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Give all scenarios, or lists of products."""
        return self._sections.get(section, {})


def rehearse(case: Case, scenarios: Mapping[str, CompiledScenario]) -> Rehearsed:
    """Run a case to its end. Raises: InputError: it takes more than `INPUTS_MAX` inputs."""
    return _Rehearsal(case, scenarios).run()


class _Rehearsal:
    """One run: a queue of what is due, the contact's state, and its mail."""

    def __init__(self, case: Case, scenarios: Mapping[str, CompiledScenario]) -> None:
        self._case = case
        self._machine = ContactMachine()
        given = case.given
        self._context = Context(Published(scenarios, given.settings, given.products))
        self._context.key = contact_key(_TENANT, case.given.contact_id)
        self._state: Contact | None = _initial(case.given)
        self._due: list[tuple[int, int, int, Any]] = []
        self._units: deque[Any] = deque()
        self._wakes_at = 0
        self._counter = 0
        self._now = case.given.at
        self._timeline: list[Happened] = []
        self._records: list[Record] = []
        self._opened = 0
        self._answers = list(case.answers)
        self._stock = dict(case.given.coupons)
        self._post = Post(
            case.script, case.outages, self._units.append, self._call_mail, self._note_mail
        )

    def run(self) -> Rehearsed:
        for event in self._case.given.history:
            self._push(self._now, _INPUT, event)
        for one in self._case.inputs:
            self._push(one.at, _INPUT, one.body)
        while self._due:
            at, rank, _, what = heapq.heappop(self._due)
            if self._case.until and at > self._case.until:
                break
            if rank == _WAKE and at != self._wakes_at:
                continue  # the contact wakes at another time by now
            self._now = max(self._now, at)
            self._post.now = self._now
            self._one(rank, what)
        assert self._state is not None, "a contact that was given is never unmade"
        unused = tuple(
            [f"{one.step} that `when` speaks of was never handed over" for one in self._post.unused]
            + [f"{one.step} that `when` speaks of was never called" for one in self._answers]
        )
        timeline, records = tuple(self._timeline), tuple(self._records)
        now = max(self._now, self._case.until)
        return Rehearsed(timeline, self._state, records, self._opened, now, unused)

    def _push(self, at: int, rank: int, what: Any) -> None:
        self._counter += 1
        heapq.heappush(self._due, (at, rank, self._counter, what))

    def _one(self, rank: int, what: Any) -> None:
        if rank == _MAIL:
            self._post.due(what)
        else:
            self._units.append(Wake() if rank == _WAKE else what)
        while self._units:
            self._decide(self._units.popleft())

    def _decide(self, body: Any) -> None:
        self._counter += 1
        if self._counter > INPUTS_MAX:
            place = Place(line=self._case.line)
            message = f"`{self._case.name}` takes more than {INPUTS_MAX} inputs"
            raise InputError(message, place, "give `until`, or mend a scenario without an end")
        self._context.now = self._now
        self._context.input_id = self._counter.to_bytes(16)
        transition = self._machine.decide(self._state, body, self._context)
        self._state = transition.state
        wakes_at = transition.place.due if isinstance(transition.place, At) else 0
        if wakes_at != self._wakes_at:
            self._wakes_at = wakes_at
            if wakes_at:
                self._push(wakes_at, _WAKE, None)
        for effect in transition.effects:
            match effect:
                case Tell(body=TakeCode() as asked):
                    self._taken(name_of(effect.to).decode(), asked)
                case Tell(body=ReturnCode() | ForgetHolder()):
                    pass
                case Tell():
                    self._post.take(name_of(effect.to), effect.body)
                case Record():
                    self._note_record(effect)
                case Emit(channel=channel, body=body) if channel == CALLS:
                    self._called(body)
                case Emit(channel=channel) if not channel.startswith("notify."):
                    pass  # news that the engine keeps its own counts and lists by
                case Emit():
                    channel = effect.channel.removeprefix("notify.")
                    self._timeline.append(
                        Happened(self._now, "notify", channel, effect.body["step"])
                    )
                case _:
                    raise AssertionError("a contact releases nothing")

    def _taken(self, pool: str, asked: TakeCode) -> None:
        """Answer for the pool, in the same unit."""
        left = self._stock.get(pool, 1)
        place = (asked.journey, asked.step, asked.visit)
        if not left:
            self._units.append(NoCode(*place, pool, "empty"))
            return
        if pool in self._stock:
            self._stock[pool] = left - 1
        self._timeline.append(Happened(self._now, "coupon", asked.step, pool))
        self._units.append(CodeGiven(*place, pool, f"{pool}-{self._counter}"))

    def _called(self, body: Call) -> None:
        """Note a call, and let its answer come: as the case says, else at once that it is taken."""
        self._timeline.append(Happened(self._now, "call", body.step, body.endpoint))
        found = next((one for one in self._answers if one.step == body.step), None)
        if found is not None:
            self._answers.remove(found)
        answer = found or Answered(body.step, _TAKEN)
        at = self._now + answer.after_ms
        if answer.status and at < body.not_after:  # later the time is out, and nobody waits
            journey, taken = bytes.fromhex(body.journey), 200 <= answer.status < 300
            given = CallAnswered(
                journey, body.step, body.visit, taken, answer.status, answer.fields
            )
            self._push(at, _INPUT, given)

    def _call_mail(self, at: int, message_id: bytes) -> None:
        self._push(at, _MAIL, message_id)

    def _note_mail(self, what: Any, send: Send, detail: str, permit: Permit | None) -> None:
        variables = permit.variables if permit else {}
        self._timeline.append(Happened(self._now, what, send.step, detail, variables))

    def _note_record(self, record: Record) -> None:
        self._records.append(record)
        detail = record.detail
        match record.fact:
            case "journey_opened":
                self._opened += 1
            case "journey_ended":
                reason = detail["reason"] or "done"
                self._timeline.append(Happened(self._now, "ended", reason, detail["scenario"]))
            case "send_skipped":
                skipped = Happened(self._now, "not_sent", detail.get("step", ""), detail["reason"])
                self._timeline.append(skipped)
            case _:
                pass


def _initial(given: Given) -> Contact:
    return Contact(
        attributes=given.attributes,
        consents={
            topic: Consent(granted, given.at - 1, "given")
            for topic, granted in given.consents.items()
        },
        tags=dict.fromkeys(given.tags, given.at),
        scores={name: Points(value, given.at) for name, value in given.scores.items()},
    )
