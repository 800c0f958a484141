"""What requests and answers about the suppression list say. Types only, light to import: the command line does."""

from __future__ import annotations

__all__ = ("Addition", "Checked", "EntryView", "ListPage", "Removal", "Told")

from typing import Annotated

import msgspec
from msgspec import Meta

_Short = Annotated[str, Meta(max_length=300)]
_Address = Annotated[str, Meta(min_length=1, max_length=320)]


class Addition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address (or @domain, or role@) to put on the list. `scope` "" is the asker's tenant."""

    address: _Address
    scope: _Short = ""
    reason: Annotated[str, Meta(max_length=30)] = "manual"
    evidence: _Short = ""
    source: Annotated[str, Meta(max_length=100)] = "api"
    created_ms: Annotated[int, Meta(ge=0)] = 0
    expires_ms: Annotated[int, Meta(ge=0, description="0: until it is taken off")] = 0


class Removal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address to take off the list; `scope` "" takes it off all scopes that the asker may touch."""

    address: _Address
    scope: _Short = ""
    reasons: tuple[str, ...] = ()


class Told(msgspec.Struct, frozen=True):
    """What became of a request: how many addresses, and the version that has them."""

    addresses: int
    version: int


class EntryView(msgspec.Struct, frozen=True):
    """An entry as it is shown. `address` "" where only the hash is kept."""

    id: str  # the hash
    address: str
    scope: str
    reason: str
    source: str
    evidence: str
    created_ms: int
    expires_ms: int = 0


class ListPage(msgspec.Struct, frozen=True):
    """Entries in the order of hashes; ask for more behind `next`."""

    items: list[EntryView]
    next: str
    more: bool
    version: int
    tenant: str = ""  # whose list it is for who asks


class Checked(msgspec.Struct, frozen=True):
    """Whether mail may go to an address, and which entries say no."""

    address: str
    suppressed: bool
    entries: list[EntryView]
