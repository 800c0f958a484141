"""Nothing leaves by accident: who may be written to, and as whom, outside the mode `twin`. DESIGN §4.

A recipient is allowed when its mailbox or its @domain is on the list, or the list says `any`. A From domain is allowed
when the tenant vouches for it in the configuration.
"""

from __future__ import annotations

__all__ = ("Guard",)

from collections.abc import Collection
from typing import Literal


class Guard:
    """What one tenant may send.

    Args:
        mode: in `twin` everything goes, since it goes to a twin.
        allow: mailboxes and @domains, or `any`.
        from_domains: domains that the tenant may write in From.
    """

    def __init__(
        self,
        mode: Literal["twin", "relay", "live"],
        allow: Collection[str] | Literal["any"],
        from_domains: Collection[str],
    ) -> None:
        self._open = mode == "twin"
        self._any = allow == "any"
        self._allowed = frozenset(one.lower() for one in allow) if allow != "any" else frozenset()
        self._from = frozenset(domain.lower() for domain in from_domains)

    def recipient_refusal(self, address: str) -> str:
        """Say why a recipient may not be written to; empty: it may."""
        if self._open or self._any:
            return ""
        mailbox = address.lower()
        if mailbox in self._allowed or "@" + mailbox.rpartition("@")[2] in self._allowed:
            return ""
        return "the recipient is not on delivery.allow"

    def from_refusal(self, domain: str) -> str:
        """Say why a From domain may not be used; empty: it may."""
        if self._open or domain.lower() in self._from:
            return ""
        return f"the From domain {domain!r} is not among the tenant's from_domains"
