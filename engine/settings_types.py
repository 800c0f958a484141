"""What the sections of the configuration are made of: their Struct, and the types of keys that several of them have."""

from __future__ import annotations

__all__ = ("Domain", "File", "KeyHash", "Name", "Network", "Recipient", "Section")

from typing import Annotated

import msgspec
from msgspec import Meta

Domain = Annotated[
    str,
    Meta(
        pattern=r"^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$(?!\n)",
        description="a domain in lower case, as A-labels",
    ),
]
KeyHash = Annotated[
    str,
    Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)", description="sha256: and 64 hexadecimal digits"),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$(?!\n)",
        description="lower case letters, digits, - and _, at most 63",
    ),
]
Recipient = Annotated[
    str,
    Meta(
        pattern=r"^[^@\s]*@[^@\s]+$(?!\n)", description="a mailbox, or @domain for a whole domain"
    ),
]
File = Annotated[str, Meta(extra={"file": True})]
Network = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f:.]+(/[0-9]{1,3})?$(?!\n)",
        description="an address or a network, such as 10.0.0.0/8",
    ),
]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all sections have in common: frozen, by keyword, no unknown keys."""
