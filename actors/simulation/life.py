"""One contact's life: its contact machine, its mail, and what it does, on a virtual clock.

At one time it goes as in a replay (DESIGN §4): what is due first, with mail and outcomes that come of it; then all
inputs of that time; then what comes of those. All that one input entails inside the partition is decided before the
next. Where mail goes is a `Post`: it says when credit is at hand, and what becomes of an attempt.
"""

from __future__ import annotations

__all__ = ("Life",)

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from actors.simulation.calls import code_of, heard_of
from actors.simulation.counting import DAY_MS, HOUR_MS, MINUTE_MS, Tally
from actors.simulation.post import HandedOver, Post, Told
from actors.simulation.world import World
from deliverability.message.state import MessageState
from engine.errors import InputError
from engine.keyspace import MESSAGE, contact_key, kind_of, message_key, name_of
from engine.machine import (
    At,
    Context,
    Credit,
    Emit,
    Granted,
    Ready,
    Record,
    Release,
    Retired,
    Tell,
    Wake,
)
from engine.vocabulary import (
    CALLS,
    Call,
    ConsentGiven,
    ContactPut,
    Event,
    MarkSuppressed,
    Message,
    Send,
    data_of,
)
from scenarios.behaviour.acting import Actor, Doing
from scenarios.coupons import TakeCode
from scenarios.program import Standing
from scenarios.state import Contact
from scenarios.zones import local_time, zone_of

INPUTS_MAX: Final = 100_000
"""So many inputs of one contact; a scenario that takes more doesn't end."""

_WAKE, _DUE, _GRANT, _OUTCOME, _INPUT = range(5)
_GRANTED: Final = Granted(Credit(b"simulation", 1, 0))


class Life:
    """One life. `story` None: nothing is written down; `trace` gets every input from outside, `facts` every record.

    Args:
        world: what all lives share.
        number: of the contact, from 0; -1 where it doesn't matter.
        contact_id: its id.
        actor: its part; None: it only does what it is given.
        post: where its mail goes.
        tally: what is counted goes there.
    """

    __slots__ = (
        "_actor",
        "_context",
        "_count",
        "_days",
        "_done",
        "_due",
        "_entered",
        "_foreign",
        "_mails",
        "_messages",
        "_once",
        "_post",
        "_tally",
        "_units",
        "_variants",
        "_wakes_at",
        "_way",
        "_world",
        "contact_id",
        "facts",
        "handed_over",
        "key",
        "now",
        "number",
        "pending",
        "state",
        "story",
        "trace",
    )

    def __init__(
        self,
        world: World,
        number: int,
        contact_id: str,
        actor: Actor | None,
        post: Post,
        tally: Tally,
    ) -> None:
        self._world = world
        self.number = number
        self.contact_id = contact_id
        self._actor = actor
        self._post = post
        self._tally = tally
        self.key = contact_key(world.tenant, contact_id)
        self._context = Context(world.catalog)
        self.state: Contact | None = None
        self._due: list[tuple[int, int, int, Any, Any]] = []
        self._units: deque[tuple[bool, bytes, Any]] = deque()
        self._messages: dict[bytes, MessageState] = {}
        self._wakes_at = 0
        self._count = self._done = 0
        self._entered = 0
        self._foreign: set[bytes] = set()
        self._mails = 0
        self._days: dict[int, int] = {}
        self._once: set[str] = set()
        self._variants: dict[str, str] = {}
        self._way: list[str] = []
        self.now = 0
        self.pending = 0
        self.story: list[Told] | None = None
        self.trace: list[tuple[int, bytes, dict[str, Any], tuple[ConsentGiven, ...], Event]] | None
        self.trace = None
        self.handed_over: list[HandedOver] | None = None
        self.facts: list[tuple[int, str, Mapping[str, Any]]] | None = None

    # ---- what it is given

    def begin(self) -> None:
        """Let the contact come: who it is with its first event, then what it does of itself."""
        assert self._actor is not None, "only an actor begins of itself"
        for doing in self._actor.opening():
            self._push(doing.at, _INPUT, doing, b"")

    def given(self, at: int, inputs: Sequence[tuple[bytes, Any]]) -> None:
        """Give the inputs of a log's row by their ids: what it says of its contact, then the event."""
        self._push(at, _INPUT, tuple(inputs), b"")

    def enter(self, world: World) -> None:
        """Go on in another world, in which something else is published."""
        self._world = world
        self._context = Context(world.catalog)

    def grant(self, at: int, message_id: bytes) -> None:
        """Give credit to a message that waits for it."""
        self.pending -= 1
        self._push(at, _GRANT, message_id, b"")

    @property
    def next_at(self) -> int | None:
        """When it goes on; None: nothing is due."""
        due = self._due
        while due and due[0][1] == _WAKE and due[0][0] != self._wakes_at:
            heapq.heappop(due)  # it wakes at another time by now
        return due[0][0] if due else None

    def run(self) -> None:
        """Live to the end."""
        while (at := self.next_at) is not None:
            self.step(at)
        self.finish()

    def step(self, at: int) -> None:
        """Do all that is due first at a time: one timer, or all inputs of that time."""
        if at > self.now:
            self.now = at
        self._context.now = self.now
        _, rank, _, what, input_id = heapq.heappop(self._due)
        if rank == _INPUT:
            self._take(what)
            due = self._due
            while due and due[0][0] == at and due[0][1] == _INPUT:
                self._take(heapq.heappop(due)[3])
            return
        if rank == _WAKE:
            self._wakes_at = 0
            self._units.append((False, b"wake", Wake()))
        elif rank == _DUE:
            self._units.append((True, what, Wake()))
        elif rank == _GRANT:
            self._units.append((True, what, _GRANTED))
        else:
            self._units.append((True, input_id, what))
        self._settle()

    def finish(self) -> None:
        """Count what is counted once a life."""
        tally = self._tally
        tally.contacts += 1
        tally.inputs += self._count
        tally.last_ms = max(tally.last_ms, self.now)
        tally.entered += bool(self._entered)
        tally.mailed += bool(self._mails)
        _add(tally.per_contact, self._mails)
        if self._days:
            _add(tally.per_day, max(self._days.values()))
        if self.state is not None:
            for journey in self.state.journeys:
                if journey.id not in self._foreign:
                    _add(tally.standing, journey.step)
        for step, variant in self._variants.items():
            key = f"{step}\t{variant}\t"
            _add(tally.variants, f"{key}assigned")
            if f"converted {step}" in self._once:
                _add(tally.variants, f"{key}converted")

    @property
    def way(self) -> str:
        """What happened to it in short: the mails that went and how journeys ended, in order."""
        return " > ".join(self._way)

    # ---- inside

    def _push(self, at: int, rank: int, what: Any, input_id: bytes) -> None:
        self._count += 1
        if self._count > INPUTS_MAX:
            message = f"contact {self.contact_id} takes more than {INPUTS_MAX} inputs"
            raise InputError(message, mend="the scenario or the behaviour has no end: bound it")
        heapq.heappush(self._due, (at, rank, self._count, what, input_id))

    def _take(self, what: Any) -> None:
        """Take an input from outside."""
        if isinstance(what, Doing):
            self._do(what)
            return
        for input_id, body in what:
            self._one(input_id, body)
            if isinstance(body, Event):
                self._came(body)

    def _do(self, doing: Doing) -> None:
        """Let the contact do what it was going to do."""
        event = doing.event
        if doing.once:
            if doing.once in self._once:
                return
            self._once.add(doing.once)
        actor = self._actor
        assert actor is not None, "only actors do"
        self._done += 1
        input_id = f"{self.contact_id}-{self._done}".encode()
        attributes: dict[str, Any] = {}
        consents: list[ConsentGiven] = []
        at = self.now
        if self.state is None:
            attributes = actor.attributes
            consents = [ConsentGiven(topic, True, at, "simulated") for topic in actor.consents]
        if event.name in _FAREWELLS:
            topic = str(data_of(event.data).get("topic") or "marketing")
            consents = [*consents, ConsentGiven(topic, False, at, event.name)]
        if self.story is not None:
            self._tell("does", event.name)
        if self.trace is not None:
            self.trace.append((at, input_id, attributes, tuple(consents), event))
        if attributes:
            self._one(input_id + b"put", ContactPut(attributes))
        for consent in consents:
            self._one(input_id + b"consent" + consent.topic.encode(), consent)
        if event.name == "mail.complained":
            self._one(input_id + b"suppress", MarkSuppressed("complaint", "marketing"))
        self._one(input_id, event)
        self._came(event)

    def _one(self, input_id: bytes, body: Any) -> None:
        self._units.append((False, input_id, body))
        self._settle()

    def _came(self, event: Event) -> None:
        """Count an event that came, and let the contact answer it."""
        tally, name = self._tally, event.name
        _add(tally.events, name)
        if name.startswith("mail."):
            step = data_of(event.data).get("step")
            if step:
                _add(tally.mail, f"{step}\t{name[5:]}")
        for step in self._world.metrics.get(name, ()):
            if step in self._variants:
                self._once.add(f"converted {step}")
        if self._actor is not None:
            self._plan(self._actor.after_event(event, self.now))

    def _plan(self, doings: Any) -> None:
        for doing in doings:
            at = doing.at if doing.at > self.now else self.now + 1
            self._push(at, _INPUT, doing, b"")

    def _settle(self) -> None:
        """Decide a unit to its end."""
        units, opened_by = self._units, b""
        context = self._context
        while units:
            is_message, name, body = units.popleft()
            opened_by = opened_by or name
            context.input_id = opened_by
            if is_message:
                self._message(name, body)
            else:
                self._contact(body)

    def _contact(self, body: Any) -> None:
        context = self._context
        context.key = self.key
        transition = self._world.contacts.decide(self.state, body, context)
        self.state = transition.state
        wakes_at = transition.place.due if isinstance(transition.place, At) else 0
        if wakes_at != self._wakes_at:
            self._wakes_at = wakes_at
            if wakes_at:
                self._push(max(wakes_at, self.now), _WAKE, None, b"")
                self._wakes_at = max(wakes_at, self.now)
        for effect in transition.effects:
            if isinstance(effect, Record):
                self._recorded(effect.fact, effect.detail)
            elif isinstance(effect, Tell):
                if kind_of(effect.to) == MESSAGE:
                    self._units.append((True, name_of(effect.to), effect.body))
                elif isinstance(effect.body, TakeCode):
                    self._units.append((False, b"", code_of(effect)))
            elif isinstance(effect, Emit) and effect.channel == CALLS:
                self._called(effect.body)
            elif isinstance(effect, Emit) and effect.channel.startswith("notify."):
                channel = effect.channel.removeprefix("notify.")
                if self.story is not None:
                    self._tell("the scenario notifies", channel)
                if self._actor is not None:
                    self._plan(self._actor.after_notify(channel, effect.body, self.now))
        self._reached()

    def _called(self, call: Call) -> None:
        """Let the system outside answer."""
        heard = heard_of(call, self._actor, self.now)
        self._plan(heard.doings)
        if self.story is not None:
            self._tell("the scenario calls", heard.said)
        if heard.answer is not None:
            self._push(heard.at, _INPUT, ((call.call_id.encode(), heard.answer),), b"")

    def _reached(self) -> None:
        """Count the steps that were taken; those at which journeys stand are counted by their records."""
        trace = self._world.trace.trace
        if not trace:
            return
        program, names = self._world.compiled.program, self._world.step_names
        for at in trace:
            step = program[at]
            if not isinstance(step, Standing) and at in names:
                _add(self._tally.reached, names[at])
        trace.clear()

    def _recorded(self, fact: str, detail: Mapping[str, Any]) -> None:
        tally = self._tally
        if self.facts is not None:
            self.facts.append((self.now, fact, detail))
        if self._foreign and detail.get("journey") in self._foreign:
            return
        match fact:
            case "journey_waits":
                _add(tally.reached, detail["step"])
            case "journey_opened" if detail["scenario"] != self._world.scenario.name:
                self._foreign.add(detail["journey"])
            case "journey_opened":
                tally.opened += 1
                self._entered += 1
            case "journey_ended":
                reason = detail["reason"] or "done"
                _add(tally.ended, reason)
                self._way.append(f"({reason})")
                if self.story is not None:
                    self._tell("its journey ends", reason)
            case "branch_taken":
                _add(tally.branches, f"{detail['step']}\t{detail['branch']}")
            case "variant_drawn":
                _add(tally.branches, f"{detail['step']}\t{detail['variant']}")
                if detail["experiment"]:
                    self._variants.setdefault(detail["step"], detail["variant"])
            case "send_decided":
                _add(tally.mail, f"{detail.get('step', '')}\tdecided")
            case "send_skipped":
                _add(tally.mail, f"{detail.get('step', '')}\tskipped {detail['reason']}")
            case "send_refused":
                self._refused(detail)
            case _:
                pass

    def _refused(self, detail: Mapping[str, Any]) -> None:
        state = self._messages.get(detail["message"])
        step = self._step_of(state.send) if state is not None else ""
        _add(self._tally.refused, f"{step}\t{detail['reason']}")
        if detail["reason"] == "cap":
            _add(self._tally.cap_days, self.now // DAY_MS)
        if self.story is not None:
            self._tell("a mail may not go", f"{step}: {detail['reason']}")

    # ---- mail

    def _message(self, message_id: bytes, body: Any) -> None:
        context, world = self._context, self._world
        context.key = message_key(world.tenant, message_id)
        before = self._messages.get(message_id)
        transition = world.messages.decide(before, body, context)
        state: MessageState | None = transition.state
        if state is None:
            return
        self._messages[message_id] = state
        for effect in transition.effects:
            if isinstance(effect, Tell):
                to_message = kind_of(effect.to) == MESSAGE
                self._units.append((to_message, name_of(effect.to), effect.body))
            elif isinstance(effect, Release) and isinstance(effect.body, Message):
                first = before is None or not before.first_attempt
                self._attempt(effect.body, state, first=first)
        place = transition.place
        match place:
            case At():
                self._push(max(place.due, self.now), _DUE, message_id, b"")
            case Ready():
                order = max(place.order, self.now)
                at = self._post.ready(self, message_id, state.send.domain, order)
                if at < 0:
                    self.pending += 1
                else:
                    self._push(at, _GRANT, message_id, b"")
            case Retired():
                self._retired(message_id, state)
            case _:
                pass

    def _attempt(self, message: Message, state: MessageState, *, first: bool) -> None:
        tally, now, step = self._tally, self.now, self._step_of(state.send)
        provider = self._world.provider(state.send.domain)
        _add(tally.load, f"{provider}\t{now // HOUR_MS}")
        if first:  # a refusal takes an attempt's number too
            self._mails += 1
            _add(tally.mail, f"{step}\thanded over")
            _add(tally.days, now // DAY_MS)
            self._way.append(step)
            zone = zone_of(str(message.variables.get("contact", {}).get("timezone", "")))
            day = now // DAY_MS if zone is None else local_time(now, zone).toordinal()
            self._days[day] = self._days.get(day, 0) + 1
            if self.handed_over is not None:
                self.handed_over.append(
                    HandedOver(
                        now, message.scenario, message.step, message.message_id, message.template
                    )
                )
            meant = self._world.meant(
                state.created, str(message.variables.get("contact", {}).get("timezone", ""))
            )
            _add(tally.demand, f"{provider}\t{state.created // MINUTE_MS}\t{meant}")
            _add(tally.late, f"{provider}\t{meant}\t{(now - state.created) // MINUTE_MS}")
        outcome = self._post.attempt(self, message)
        self._push(now, _OUTCOME, outcome, message.message_id)
        if outcome.kind == "deferred":
            _add(tally.deferrals, f"{provider}\t{outcome.cause}")
        if self.story is not None:
            self._tell(f"mail {outcome.kind}", f"{step} ({message.template})")
        if outcome.kind == "delivered" and self._actor is not None:
            about = {
                "message_id": message.message_id.hex(),
                "scenario": message.scenario,
                "step": message.step,
                "topic": state.send.topic,
            }
            cause = message.variables.get("event", {})
            self._plan(self._actor.after_mail(about, cause, now))

    def _step_of(self, send: Send) -> str:
        """Name a step; those of scenarios that run beside have their scenario's name before."""
        main = self._world.scenario.name
        return send.step if send.scenario in {main, ""} else f"{send.scenario}/{send.step}"

    def _retired(self, message_id: bytes, state: MessageState) -> None:
        del self._messages[message_id]
        step, status = self._step_of(state.send), state.status
        became = f"skipped {state.reason}" if status == "skipped" else status
        _add(self._tally.mail, f"{step}\t{became}")
        if status not in {"delivered", "bounced"}:
            self._way.append(f"[{step}: {became}]")

    def _tell(self, what: str, detail: str) -> None:
        assert self.story is not None, "asked only where a story is written"
        self.story.append(Told(self.now, what, detail))


_FAREWELLS: Final = frozenset({"mail.unsubscribed", "mail.complained"})


def _add(counts: dict[Any, int], key: Any) -> None:
    counts[key] = counts.get(key, 0) + 1
