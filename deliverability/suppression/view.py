"""What a sender knows of the suppression list: one shared file, what changed since, and as of when it knows that.

A view never goes back. `as_of` is on the owner's monotonic clock: everything that was acknowledged before then is in
it. A guard refuses whoever is suppressed, and everybody once the view is older than its bound; so, however many
messages about changes are lost, no message begins later than the bound after the acknowledgement of a suppression.
"""

from __future__ import annotations

__all__ = ("AGE_MS_MAX", "LOOK_MS", "Guard", "SuppressionGuard", "View")

from collections.abc import Callable, Iterable
from typing import Protocol

from deliverability.suppression.entry import ROLES, Hasher, scopes_of
from deliverability.suppression.machine import Change
from deliverability.suppression.packed import PREFIX_BYTES, Found, Packed, empty
from engine.vocabulary import Message

AGE_MS_MAX = 1500
"""An older view forbids to begin: well within the stated bound of 2 s after a suppression was acknowledged."""

LOOK_MS = 10
"""News are looked for when the view is older than this and wasn't looked after for as long: some system calls, 100
times a second at most. A copy of another node's list is always older, since it hears but now and then."""


class View:
    """The list as of a version."""

    def __init__(self, base: Packed | None = None) -> None:
        self.base = base or Packed(empty())
        self.version = self.base.version
        self.changes: dict[bytes, tuple[Found, ...]] = {}
        self.as_of: int | None = None  # ms, monotonic; None: it was never heard of
        self.edition = 0
        """Grows whenever something changed."""

    def rebase(self, base: Packed) -> None:
        """Take a newer file; what it contains already is forgotten with it. Its changes follow by `apply`."""
        self.base = base
        self.version = base.version
        self.changes.clear()
        self.edition += 1

    def apply(self, version: int, changes: Iterable[Change]) -> None:
        """Take the changes of a version; one that is known already changes nothing."""
        if version <= self.version:
            return
        for change in changes:
            held = tuple(Found(e.scope, e.reason, e.expires) for e in change.entries)
            self.changes[change.digest[:PREFIX_BYTES]] = held
        self.version = version
        self.edition += 1

    def heard(self, as_of: int) -> None:
        """Hear that everything acknowledged before a moment is in."""
        self.as_of = as_of if self.as_of is None else max(self.as_of, as_of)

    def entries(self, digest: bytes) -> tuple[Found, ...]:
        """Give all entries of an address, expired ones among them."""
        changed = self.changes.get(digest[:PREFIX_BYTES])
        return changed if changed is not None else self.base.find(digest)

    def find(self, digest: bytes, scopes: Iterable[str], now: int) -> Found | None:
        """Give the first entry that holds within the scopes."""
        found = self.entries(digest)
        if not found:
            return None
        for entry in found:
            if entry.scope in scopes and entry.holds(now):
                return entry
        return None

    @property
    def is_empty(self) -> bool:
        """Whether nobody is on the list."""
        return not self.base.count and not self.changes


class SuppressionGuard(Protocol):
    """What contact and egress ask before mail goes."""

    @property
    def edition(self) -> int:
        """Grows whenever something changed."""

    def fresh(self) -> bool:
        """Tell whether the view may be trusted now."""

    def reason(self, tenant: str, stream: str, topic: str, address: str, now: int) -> str:
        """Tell why an address may not be sent to: scope and reason, or "". `now` is wall time, ms."""

    def refuses(self, message: Message) -> str:
        """Tell why a message may not be begun now, or "": for the egress."""


class Guard:
    """Asks a view. Hot: three times a message (bench: `veredus bench suppression`, budget 10 µs with ten million).

    Args:
        view: kept up to date by somebody else.
        hasher: hashes as the list does.
        monotonic_ms: the clock that `View.heard` is told the time of.
        wall_ms: the time in use, which entries expire by.
        refresh: looks for news; called when the view is older than `LOOK_MS`.
    """

    DOMAINS_MAX = 20_000

    def __init__(
        self,
        view: View,
        hasher: Hasher,
        monotonic_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        refresh: Callable[[], None],
        age_ms_max: int = AGE_MS_MAX,
    ) -> None:
        self._view = view
        self._hash = hasher.of
        self._monotonic_ms = monotonic_ms
        self._wall_ms = wall_ms
        self._refresh = refresh
        self._age_ms_max = age_ms_max
        self._looked_at = -(1 << 62)
        self._domains: dict[str, tuple[Found, ...]] = {}
        self._domains_as_of = -1

    @property
    def edition(self) -> int:
        """Grows whenever something changed."""
        return self._view.edition

    def fresh(self) -> bool:
        """Tell whether the view may be trusted; looks for news first, when it is time to."""
        view, now = self._view, self._monotonic_ms()
        if (view.as_of is None or now - view.as_of > LOOK_MS) and now - self._looked_at > LOOK_MS:
            self._looked_at = now
            self._refresh()
        return view.as_of is not None and now - view.as_of <= self._age_ms_max

    def age_ms(self) -> int | None:
        """Tell how old the view is, after a look; None: nothing was ever heard."""
        self.fresh()
        as_of = self._view.as_of
        return None if as_of is None else self._monotonic_ms() - as_of

    def refuses(self, message: Message) -> str:
        """Tell why a message may not be begun now."""
        if self._view.is_empty:
            return ""
        said = (message.tenant, message.stream, message.topic, message.address)
        return self.reason(*said, self._wall_ms())

    def reason(self, tenant: str, stream: str, topic: str, address: str, now: int) -> str:
        """Tell why an address may not be sent to: of itself, its whole domain, or its role."""
        self.fresh()
        view = self._view
        if view.is_empty or not address:
            return ""
        scopes = scopes_of(tenant, stream, topic)
        found = view.find(self._hash(address), scopes, now)
        if found is None:
            local, _, domain = address.lower().rpartition("@")
            wider = self._of("@" + domain)
            if local in ROLES:
                wider = (*wider, *self._of(local + "@"))
            for entry in wider:
                if entry.scope in scopes and entry.holds(now):
                    found = entry
                    break
        return f"{found.scope}: {found.reason}" if found is not None else ""

    def _of(self, name: str) -> tuple[Found, ...]:
        """Give what holds for a whole domain or a role; remembered, since they come again and again."""
        if self._domains_as_of != self._view.edition or len(self._domains) > self.DOMAINS_MAX:
            self._domains.clear()
            self._domains_as_of = self._view.edition
        known = self._domains.get(name)
        if known is None:
            known = self._domains[name] = self._view.entries(self._hash(name))
        return known
