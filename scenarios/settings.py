"""What a tenant decides about its contacts: in the catalog as section `setting`, name `contact`."""

from __future__ import annotations

__all__ = ("Cap", "ContactSettings", "Pause", "QuietHours")

from typing import Literal

import msgspec

from engine.vocabulary import TRANSACTIONAL


class Cap(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most `limit` messages in a window, counted from their acceptance.

    The window rolls over `window_ms`, or is the `period` of the calendar in the contact's zone. Empty
    `streams` and `topics` mean all, but for streams that need no consent.
    """

    name: str
    limit: int
    window_ms: int = 0
    period: Literal["", "day", "week", "month"] = ""
    streams: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


class QuietHours(msgspec.Struct, frozen=True, omit_defaults=True):
    """No hand-over from one minute of the day to another, in the contact's zone; may cross midnight.

    Empty `streams` mean all that need consent.
    """

    from_minute: int
    to_minute: int
    streams: tuple[str, ...] = ()


class ContactSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which attributes mean what, which streams need no consent, and what bounds the rest."""

    address_attribute: str = "email"
    name_attribute: str = "name"
    zone_attribute: str = "timezone"
    zone: str = "UTC"  # for contacts whose own is unknown or invalid
    streams_without_consent: tuple[str, ...] = (TRANSACTIONAL,)
    caps: tuple[Cap, ...] = ()
    quiet_hours: QuietHours | None = None
    endpoints: tuple[str, ...] = ()  # that the configuration has, by name
    webhooks: Literal["posted", "assumed"] = (
        "posted"  # assumed: taken at once, and nothing is posted
    )


class Pause(msgspec.Struct, frozen=True):
    """Since when a scenario stands still, ms; 0: it doesn't. In the catalog as section `pause`."""

    since: int = 0
