"""What a tenant decides about its contacts: published in the catalog as section `setting`, name `contact`."""

from __future__ import annotations

__all__ = ("ContactSettings",)

import msgspec

from engine.vocabulary import TRANSACTIONAL


class ContactSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which attributes mean what, and which streams need no consent."""

    address_attribute: str = "email"
    name_attribute: str = "name"
    zone_attribute: str = "timezone"
    streams_without_consent: tuple[str, ...] = (TRANSACTIONAL,)
