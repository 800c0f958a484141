"""The figures of a behaviour, measured on what contacts did.

Measured are: which share of contacts causes an event of `happens`, how often, and at which hours (UTC); after an event,
what share has what follows within `WITHIN_MS`, and with which delays; of mail in the log (`mail.delivered`) opens,
clicks, unsubscriptions and complaints; whole numbers among an event's data. What the log doesn't have, or has
fewer than `ENOUGH` times, stays as it was stated, and the words say so.
"""

from __future__ import annotations

__all__ = ("ENOUGH", "WITHIN_MS", "Fitting")

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from engine.vocabulary import Event, data_of
from scenarios.behaviour.model import Behaviour, Following, Happening, MailAnswers, Span
from scenarios.duration import DAY_MS, format_duration

ENOUGH: Final = 30
"""With fewer cases a figure isn't measured."""
WITHIN_MS: Final = 7 * DAY_MS
"""What comes later than this isn't taken for an answer."""

_POINTS: Final = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_MAIL: Final = ("delivered", "opened", "clicked", "unsubscribed", "complained")
_VALUES_MAX: Final = 200_000


class _Happened(msgspec.Struct):
    contacts: set[str] = msgspec.field(default_factory=set)
    times: int = 0
    hours: list[int] = msgspec.field(default_factory=lambda: [0] * 24)
    numbers: dict[str, list[int]] = msgspec.field(default_factory=dict)


class _Followed(msgspec.Struct):
    tried: int = 0
    delays: list[int] = msgspec.field(default_factory=list)


class Fitting:
    """Takes the events of a log, in the order of time for each contact."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._happened = {one.event: _Happened() for one in behaviour.happens}
        self._followed = {
            at: _Followed()
            for at, one in enumerate(behaviour.follows)
            if one.after.startswith("event ")
        }
        self._contacts: set[str] = set()
        self._open: dict[tuple[str, int], int] = {}
        self._mail = dict.fromkeys(_MAIL, 0)
        self._first = self._last = 0

    def take(self, contact: str, event: Event) -> None:
        """Take one event."""
        self._contacts.add(contact)
        self._first = min(self._first or event.at, event.at)
        self._last = max(self._last, event.at)
        happened = self._happened.get(event.name)
        if happened is not None:
            _count(happened, contact, event)
        kind, _, what = event.name.partition(".")
        if kind == "mail" and what in self._mail:
            self._mail[what] += 1
        for at, followed in self._followed.items():
            rule = self._behaviour.follows[at]
            since = self._open.get((contact, at))
            if rule.event == event.name and since is not None:
                del self._open[contact, at]
                if event.at - since <= WITHIN_MS:
                    followed.delays.append(event.at - since)
            if rule.after == f"event {event.name}":
                followed.tried += 1
                self._open[contact, at] = event.at

    def result(self) -> tuple[Behaviour, tuple[str, ...]]:
        """Give the behaviour with what was measured, and a line for each figure."""
        words = [self._extent()]
        happens = tuple(self._happening(one, words) for one in self._behaviour.happens)
        follows = tuple(
            self._following(at, one, words) for at, one in enumerate(self._behaviour.follows)
        )
        mail = self._answers(words)
        fitted = msgspec.structs.replace(
            self._behaviour, happens=happens, follows=follows, mail=mail
        )
        return fitted, tuple(words)

    def _extent(self) -> str:
        days = (self._last - self._first) / DAY_MS
        return f"{len(self._contacts):,} contacts over {days:,.0f} days"

    def _happening(self, rule: Happening, words: list[str]) -> Happening:
        found = self._happened[rule.event]
        if len(found.contacts) < ENOUGH:
            words.append(f"{rule.event}: {len(found.contacts)} contacts, too few; as stated")
            return rule
        # The log is longer than the simulation: what contacts do is brought to its days, evenly.
        days = max((self._last - self._first) / DAY_MS, 1.0)
        mean = found.times / len(self._contacts) * min(self._behaviour.days / days, 1.0)
        share_ever = len(found.contacts) / len(self._contacts)
        times = max(found.times / len(found.contacts), 1.0)
        share, often = _within(share_ever, times, mean)
        words.append(
            f"{rule.event}: {share:.1%} of contacts within {self._behaviour.days} days, "
            f"{often:.2f} times each ({found.times:,} events)"
        )
        data = dict(rule.data)
        for name, numbers in sorted(found.numbers.items()):
            if name in data and len(numbers) >= ENOUGH:
                data[name] = {"quantiles": _quantiles(numbers)}
                words.append(f"{rule.event}.{name}: quantiles of {len(numbers):,} values")
        hours = tuple(float(number) for number in found.hours)
        spread = sum(number > 0 for number in found.hours)
        if spread < 2:
            words.append(f"{rule.event}: the log has no time of day; hours as stated")
        return msgspec.structs.replace(
            rule,
            share=round(share, 6),
            times=round(often, 6),
            hours=hours if spread >= 2 else rule.hours,
            data=data,
        )

    def _following(self, at: int, rule: Following, words: list[str]) -> Following:
        found = self._followed.get(at)
        name = f"{rule.event} after {rule.after}"
        if found is None or found.tried < ENOUGH:
            tried = "" if found is None else f" ({found.tried} cases)"
            words.append(f"{name}: not in the log{tried}; as stated")
            return rule
        chance = len(found.delays) / found.tried
        words.append(f"{name}: {chance:.1%} of {found.tried:,}")
        if len(found.delays) < ENOUGH:
            return msgspec.structs.replace(rule, chance=round(chance, 6))
        span = Span(
            quantiles=tuple(
                (share, format_duration(int(delay))) for share, delay in _quantiles(found.delays)
            )
        )
        return msgspec.structs.replace(rule, chance=round(chance, 6), delay=span)

    def _answers(self, words: list[str]) -> MailAnswers:
        mail, counts = self._behaviour.mail, self._mail
        changes: dict[str, float] = {}
        for what, of in (
            ("opened", "delivered"),
            ("clicked", "opened"),
            ("unsubscribed", "opened"),
            ("complained", "delivered"),
        ):
            if counts[of] < ENOUGH:
                words.append(f"mail.{what}: {counts[of]} cases of mail.{of}, too few; as stated")
                continue
            changes[what] = round(min(counts[what] / counts[of], 1.0), 6)
            words.append(f"mail.{what}: {changes[what]:.2%} of {counts[of]:,} mail.{of}")
        return msgspec.structs.replace(mail, **changes)


def _count(found: _Happened, contact: str, event: Event) -> None:
    found.contacts.add(contact)
    found.times += 1
    found.hours[datetime.fromtimestamp(event.at / 1000, UTC).hour] += 1
    for name, value in data_of(event.data).items():
        if isinstance(value, int) and not isinstance(value, bool):
            numbers = found.numbers.setdefault(name, [])
            if len(numbers) < _VALUES_MAX:
                numbers.append(value)


def _within(share_ever: float, times: float, mean: float) -> tuple[float, float]:
    """Find share and times (geometric from 1) for a shorter stretch with `mean` events a contact.

    With the chance k that an event of the log falls into the stretch, a contact with N of them, geometric with mean m,
    has at least one with the chance km / (1 + k(m - 1)).
    """
    kept = mean / (share_ever * times)
    seen = kept * times / (1 + kept * (times - 1))
    share = share_ever * seen
    return share, max(mean / share if share else 1.0, 1.0)


def _quantiles(values: Sequence[int]) -> list[tuple[float, Any]]:
    ordered = sorted(values)
    return [(share, ordered[round(share * (len(ordered) - 1))]) for share in _POINTS]
