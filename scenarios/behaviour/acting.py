"""One contact's part: who it is, what it does of itself, how it answers. Made of behaviour, seed and contact alone.

A `Cast` is compiled once; each contact gets an `Actor`, which gives inputs with their times. It knows no clock: what it
answers to, and when that was, it is told.
"""

from __future__ import annotations

__all__ = ("Actor", "Answer", "Cast", "Doing", "domain_of")

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from engine.vocabulary import Call, Event, data_of
from scenarios.behaviour.draws import Draws, seed_of
from scenarios.behaviour.model import (
    Answers,
    Behaviour,
    CallAnswers,
    Following,
    Happening,
    Span,
)
from scenarios.behaviour.values import Frame, Maker, compile_value
from scenarios.duration import DAY_MS, parse_duration
from scenarios.zones import UTC, first_instant, local_time, zone_of

SHOPPING: Final = (
    2,
    1,
    1,
    1,
    1,
    2,
    4,
    7,
    9,
    10,
    11,
    11,
    12,
    11,
    10,
    10,
    11,
    12,
    14,
    16,
    17,
    14,
    9,
    4,
)
"""Weights of the hours of a day at which people shop: assumed, low at night, highest in the evening."""
OFFICE: Final = (0, 0, 0, 0, 0, 0, 1, 4, 10, 12, 12, 11, 7, 10, 12, 11, 9, 5, 2, 1, 1, 1, 0, 0)
"""Weights of the hours of a day at which people work."""

_TAKEN: Final = 200
_REFUSED: Final = 422
_ZONE_ATTRIBUTE: Final = "timezone"
_EMAIL: Final = "email"


class Doing(msgspec.Struct, frozen=True, gc=False):
    """An event that a contact is going to cause. `once` "" or the name under which it comes about once."""

    at: int
    event: Event
    once: str = ""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a system outside answers to a call, and when. `status`: of its reply (RFC 9110 §15)."""

    at: int
    status: int
    fields: Mapping[str, Any] = {}


class _Delay(msgspec.Struct, frozen=True):
    mean: float
    points: tuple[tuple[float, float], ...] = ()

    def draw(self, draws: Draws, name: str) -> int:
        if not self.points:
            return int(draws.exponential(name, self.mean)) if self.mean else 0
        share = draws.uniform(name)
        above = next(at for at, point in enumerate(self.points) if at and point[0] >= share)
        (low_share, low), (high_share, high) = self.points[above - 1], self.points[above]
        span = high_share - low_share
        return int(low + (high - low) * ((share - low_share) / span if span else 1.0))


class _Happens(msgspec.Struct, frozen=True):
    rule: Happening
    name: str
    hours: tuple[float, ...]
    data: tuple[tuple[str, Maker], ...]
    gap_ms: int


class _Follows(msgspec.Struct, frozen=True):
    rule: Following
    name: str
    delay: _Delay
    once: Maker | None
    data: tuple[tuple[str, Maker], ...]


class _Mail(msgspec.Struct, frozen=True):
    opened: float
    clicked: float
    complained: float
    unsubscribed: float


class _Called(msgspec.Struct, frozen=True):
    rule: CallAnswers
    delay: _Delay
    data: tuple[tuple[str, Maker], ...]


class Cast:
    """A behaviour, compiled: what all actors share."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.begins_on = dt.date.fromisoformat(behaviour.begins)
        midnight = dt.datetime.combine(self.begins_on, dt.time(), dt.UTC)
        self.begins = int(midnight.timestamp() * 1000)
        self.ends = self.begins + behaviour.days * DAY_MS
        people = behaviour.contacts
        self.domains = tuple(people.domains)
        self.domain_bounds = tuple(accumulate(people.domains.values()))
        self.attributes = _makers(people.attributes, "attribute")
        self.happens = tuple(_happens(at, one) for at, one in enumerate(behaviour.happens))
        follows: dict[str, list[_Follows]] = {}
        for at, one in enumerate(behaviour.follows):
            follows.setdefault(one.after, []).append(_follows(at, one))
        self.follows = {after: tuple(found) for after, found in follows.items()}
        mail = behaviour.mail
        self.opened_after = _delay(mail.opened_after)
        self.clicked_after = _delay(mail.clicked_after)
        self._all_mail = self._mail_of(Answers())
        self._mail = {step: self._mail_of(one) for step, one in mail.steps.items()}

        called = behaviour.webhooks
        self._all_calls = _called("*", called)
        self._calls = {step: _called(step, one) for step, one in called.steps.items()}

    def called(self, step: str) -> _Called:
        """Give how calls of a step are answered."""
        return self._calls.get(step, self._all_calls)

    def mail(self, step: str) -> _Mail:
        """Give how mail of a step is answered."""
        return self._mail.get(step, self._all_mail)

    def _mail_of(self, own: Answers) -> _Mail:
        mail = self.behaviour.mail
        return _Mail(
            mail.opened if own.opened is None else own.opened,
            mail.clicked if own.clicked is None else own.clicked,
            mail.complained if own.complained is None else own.complained,
            mail.unsubscribed if own.unsubscribed is None else own.unsubscribed,
        )


def domain_of(cast: Cast, contact_id: str, seed: int) -> str:
    """Tell the domain of a contact's address, without making the rest of it."""
    draws = Draws(seed_of(seed, contact_id))
    return cast.domains[draws.pick("domain", cast.domain_bounds)]


class Actor:
    """One contact's part in a simulation with a seed."""

    __slots__ = ("_cast", "_draws", "attributes", "bounces", "consents", "contact_id")

    def __init__(self, cast: Cast, contact_id: str, seed: int) -> None:
        self._cast = cast
        self._draws = draws = Draws(seed_of(seed, contact_id))
        self.contact_id = contact_id
        domain = cast.domains[draws.pick("domain", cast.domain_bounds)]
        self.attributes: dict[str, Any] = {_EMAIL: f"{contact_id}@{domain}"}
        for name, maker in cast.attributes:
            self.attributes[name] = maker(self._frame({}, {}))
        shares = cast.behaviour.contacts.consents
        self.consents = [
            topic for topic, share in shares.items() if draws.chance(f"consent {topic}", share)
        ]
        self.bounces = draws.chance("bounces", cast.behaviour.mail.bounced)

    def opening(self) -> list[Doing]:
        """Give what the contact does of itself, in the order of time."""
        found: list[Doing] = []
        for one in self._cast.happens:
            if self._draws.chance(f"{one.name} share", one.rule.share):
                for _ in range(1 + self._draws.more(f"{one.name} times", 1 - 1 / one.rule.times)):
                    found += self._burst(one)
        found.sort(key=_at)
        return found

    def after_event(self, event: Event, at: int) -> Sequence[Doing]:
        """Answer an event that came."""
        return self._answer(f"event {event.name}", data_of(event.data), at)

    def after_notify(self, channel: str, body: Mapping[str, Any], at: int) -> Sequence[Doing]:
        """Answer an entry of a feed; its cause has the data of the event that opened the journey."""
        return self._answer(f"notify {channel}", {**body["event"], "text": body["text"]}, at)

    def after_call(self, call: Call, at: int) -> tuple[Answer | None, Sequence[Doing]]:
        """Answer a call for the system outside, and tell what the contact does after one that was taken."""
        draws, one = self._draws, self._cast.called(call.step)
        name = f"webhook {call.step}"
        taken = draws.chance(f"{name} taken", one.rule.taken)
        when = at + one.delay.draw(draws, f"{name} delay")
        if not taken:
            refused = draws.chance(f"{name} refused", one.rule.refused)
            return (Answer(when, _REFUSED) if refused else None), ()
        frame = self._frame(call.data, {})
        fields = {field: maker(frame) for field, maker in one.data}
        return Answer(when, _TAKEN, fields), self._answer(name, call.data, when)

    def after_mail(
        self, about: Mapping[str, Any], cause: Mapping[str, Any], at: int
    ) -> list[Doing]:
        """Answer a mail that was delivered: open, click, complain, unsubscribe, and what follows of it.

        Args:
            about: what the events of mail say: message_id, scenario, step, topic.
            cause: the data of the event that opened the mail's journey.
            at: when it was delivered.
        """
        draws, cast, step = self._draws, self._cast, str(about["step"])
        rates = cast.mail(step)
        found: list[Doing] = []
        if draws.chance("mail opened", rates.opened):
            opened = at + 1000 + cast.opened_after.draw(draws, "mail opened after")
            found.append(Doing(opened, Event("mail.opened", opened, {**about, "by": "person"})))
            if draws.chance("mail clicked", rates.clicked):
                clicked = opened + 1000 + cast.clicked_after.draw(draws, "mail clicked after")
                data = {**about, "by": "person", "link": 0}
                found.append(Doing(clicked, Event("mail.clicked", clicked, data)))
            if draws.chance("mail unsubscribed", rates.unsubscribed):
                left = opened + 1000 + cast.clicked_after.draw(draws, "mail unsubscribed after")
                found.append(Doing(left, Event("mail.unsubscribed", left, dict(about))))
        if draws.chance("mail complained", rates.complained):
            complained = at + 1000 + cast.opened_after.draw(draws, "mail complained after")
            found.append(Doing(complained, Event("mail.complained", complained, dict(about))))
        found += self._answer(f"mail {step}", cause, at)
        found += self._answer("mail *", cause, at)
        return found

    def _frame(self, cause: Mapping[str, Any], ids: dict[str, str]) -> Frame:
        return Frame(
            self._draws, self.contact_id, self.attributes, cause, ids, self._cast.begins_on
        )

    def _answer(self, after: str, cause: Mapping[str, Any], at: int) -> list[Doing]:
        found: list[Doing] = []
        for one in self._cast.follows.get(after, ()):
            if not self._draws.chance(f"{one.name} chance", one.rule.chance):
                continue
            when = at + one.delay.draw(self._draws, f"{one.name} delay")
            frame = self._frame(cause, {})
            data = {name: maker(frame) for name, maker in one.data}
            once = f"{one.rule.event} {one.once(frame)}" if one.once is not None else ""
            found.append(Doing(when, Event(one.rule.event, when, data), once))
        return found

    def _burst(self, one: _Happens) -> list[Doing]:
        ids: dict[str, str] = {}
        at = self._moment(one)
        found = []
        for number in range(1 + self._draws.more(f"{one.name} again", one.rule.again)):
            if number:
                at += int(self._draws.exponential(f"{one.name} gap", one.gap_ms))
            frame = self._frame({}, ids)
            data = {name: maker(frame) for name, maker in one.data}
            found.append(Doing(at, Event(one.rule.event, at, data)))
        return found

    def _moment(self, one: _Happens) -> int:
        """Draw a moment within the days: the hour by its weight, in the contact's own zone."""
        name = self.attributes.get(_ZONE_ATTRIBUTE)
        zone = (zone_of(name) if isinstance(name, str) else None) or UTC
        if one.rule.at is not None:
            return first_instant(dt.datetime.fromisoformat(_padded(one.rule.at)), zone)
        draws, cast = self._draws, self._cast
        day_ms = int(draws.uniform(f"{one.name} day") * cast.behaviour.days) * DAY_MS
        hour = draws.pick(f"{one.name} hour", one.hours)
        within_ms = int(draws.uniform(f"{one.name} within") * 3_600_000)
        wall_ms = cast.begins + day_ms + hour * 3_600_000 + within_ms
        offset = local_time(wall_ms, zone).utcoffset()
        assert offset is not None, "a zone has an offset at any time"
        # The offset at that instant in UTC, not of the wall time: an hour off on two nights of a year, and never twice.
        return min(max(wall_ms - int(offset.total_seconds() * 1000), cast.begins), cast.ends - 1)


def _at(one: Doing) -> int:
    return one.at


def _padded(text: str) -> str:
    date, _, minute = text.partition(" ")
    return f"{date} {minute.rjust(5, '0')}"


def _makers(data: Mapping[str, Any], of: str) -> tuple[tuple[str, Maker], ...]:
    return tuple((name, compile_value(spec, f"{of} {name}")) for name, spec in data.items())


def _happens(at: int, rule: Happening) -> _Happens:
    named: dict[str, Sequence[float]] = {"shopping": SHOPPING, "office": OFFICE, "any": (1,) * 24}
    weights = named[rule.hours] if isinstance(rule.hours, str) else rule.hours
    name = f"happens {at} {rule.event}"
    hours = tuple(accumulate(float(weight) for weight in weights))
    return _Happens(rule, name, hours, _makers(rule.data, name), parse_duration(rule.gap) or 0)


def _follows(at: int, rule: Following) -> _Follows:
    name = f"follows {at} {rule.event}"
    once: Callable[[Frame], Any] | None = compile_value(rule.once, name) if rule.once else None
    return _Follows(rule, name, _delay(rule.delay), once, _makers(rule.data, name))


def _called(step: str, rule: CallAnswers) -> _Called:
    return _Called(rule, _delay(rule.delay), _makers(rule.data, f"webhook {step}"))


def _delay(written: str | Span) -> _Delay:
    if isinstance(written, Span):
        points = tuple((share, float(parse_duration(one) or 0)) for share, one in written.quantiles)
        return _Delay(0.0, points)
    return _Delay(float(parse_duration(written) or 0))
