"""Frequency caps: how many messages a contact has had, and when there is room again.

A permit reserves under the message's id, a second permit of the same message reserves nothing. What
was accepted (or may have been) is counted from then on; everything else gives its place back.
"""

from __future__ import annotations

__all__ = ("applies", "release_or_keep", "reserve", "room_at")

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

from engine.vocabulary import OutcomeNotice
from scenarios.draft import Draft
from scenarios.settings import Cap, ContactSettings, QuietHours
from scenarios.state import Exposure
from scenarios.zones import first_instant, local_time

_MONTH_MS: Final = 32 * 86_400_000
_ACCEPTED: Final = frozenset({"delivered", "in_doubt"})


def applies(rule: Cap | QuietHours, settings: ContactSettings, stream: str) -> bool:
    """Tell whether a rule is about a stream."""
    if rule.streams:
        return stream in rule.streams
    return stream not in settings.streams_without_consent


def room_at(draft: Draft, message_id: bytes, stream: str, topic: str) -> int:
    """Tell when every cap has room for a message (ms); 0: it has room now."""
    if any(one.message_id == message_id for one in draft.exposures):
        return 0
    free = 0
    for cap in draft.view.settings.caps:
        if applies(cap, draft.view.settings, stream) and (not cap.topics or topic in cap.topics):
            free = max(free, _free_at(draft, cap))
    return free


def _free_at(draft: Draft, cap: Cap) -> int:
    zone = draft.zone()
    begin, end = _period(cap, draft.now, zone)
    settings = draft.view.settings
    counted = sorted(
        one.at
        for one in draft.exposures
        if one.at >= begin
        if applies(cap, settings, one.stream) and (not cap.topics or one.topic in cap.topics)
    )
    if len(counted) < cap.limit:
        return 0
    if cap.period or not cap.limit:
        return end
    return counted[-cap.limit] + cap.window_ms + 1


def _period(cap: Cap, now: int, zone: ZoneInfo) -> tuple[int, int]:
    """Give the first ms that counts, and the first of the next period."""
    today = local_time(now, zone).date()
    match cap.period:
        case "":
            return now - cap.window_ms, now + max(cap.window_ms, 1)
        case "day":
            begin, end = today, today + dt.timedelta(days=1)
        case "week":
            begin = today - dt.timedelta(days=today.weekday())
            end = begin + dt.timedelta(days=7)
        case "month":
            begin = today.replace(day=1)
            end = (begin + dt.timedelta(days=31)).replace(day=1)
    return _midnight(begin, zone), _midnight(end, zone)


def _midnight(day: dt.date, zone: ZoneInfo) -> int:
    return first_instant(dt.datetime.combine(day, dt.time()), zone)


def reserve(draft: Draft, message_id: bytes, stream: str, topic: str) -> None:
    """Reserve a place for a message that is permitted now, where caps are in force."""
    settings = draft.view.settings
    if not any(applies(cap, settings, stream) for cap in settings.caps):
        return
    if any(one.message_id == message_id for one in draft.exposures):
        return
    longest = max(cap.window_ms or _MONTH_MS for cap in settings.caps)
    kept = [one for one in draft.exposures if one.at > draft.now - longest or not one.sure]
    draft.exposures = (*kept, Exposure(message_id, draft.now, stream, topic))


def release_or_keep(draft: Draft, notice: OutcomeNotice) -> None:
    """Count a message from its acceptance on, or give its place back."""
    for one in draft.exposures:
        if one.message_id == notice.message_id:
            others = [other for other in draft.exposures if other is not one]
            if notice.kind in _ACCEPTED:
                others.append(Exposure(one.message_id, notice.at, one.stream, one.topic, sure=True))
            draft.exposures = tuple(others)
            return
