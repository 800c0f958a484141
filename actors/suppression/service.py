"""What the edge asks of the suppression list: add, take off, list, check; on record, and within the asker's bounds."""

from __future__ import annotations

__all__ = ("Listing", "ServiceSettings", "Suppressions")

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from actors.suppression.desk import Desk, Request
from actors.suppression.wire import Addition, Checked, EntryView, ListPage, Removal, Told
from deliverability.suppression.entry import (
    OPERATOR,
    REASONS,
    ROLES,
    Entry,
    check_scope,
    normalised,
    scopes_of,
    tenant_of_scope,
)
from deliverability.suppression.machine import Forget, Lift, Suppress
from engine.control_log import Change, digest_of
from engine.errors import InputError, Place, RefusedError
from engine.store.control_file import ControlFile


class Listing(msgspec.Struct, frozen=True):
    """Which entries to show."""

    after: str = ""
    limit: int = 100
    reason: str = ""
    scope: str = ""


class ServiceSettings(msgspec.Struct, frozen=True):
    """How the list is kept. `keep_addresses`: sealed beside their hash, so that the list can be exported."""

    keep_addresses: bool = True


class Suppressions:
    """The list, for the edge.

    Args:
        desk: owns it.
        control_log: where changes by hand go on record.
        now: wall time, ms.
        make_id: never twice the same.

    All methods: `tenant` None is the operator, who may touch every scope; else only that tenant's.
    """

    def __init__(
        self,
        desk: Desk,
        control_log: Path,
        now: Callable[[], int],
        make_id: Callable[[], str],
        settings: ServiceSettings | None = None,
    ) -> None:
        self._desk = desk
        self._control_log = control_log
        self._now = now
        self._make_id = make_id
        self._settings = settings or ServiceSettings()

    def add(
        self,
        items: Sequence[Addition],
        *,
        default_tenant: str,
        tenant: str | None,
        actor: str,
        reason: str,
    ) -> Told:
        """Put addresses on the list; in effect everywhere within 2 s of the return. All, or none.

        Raises: InputError: with the number of the item. RefusedError: a scope isn't the asker's. StoreError.
        """
        now, batch = self._now(), self._make_id()
        requests = []
        for number, item in enumerate(items):
            path = f"items[{number}]"
            if item.reason not in REASONS:
                known = ", ".join(REASONS)
                raise InputError(
                    f"{item.reason!r} is no reason", Place(path=f"{path}.reason"), f"one of {known}"
                )
            scope = item.scope or f"tenant/{default_tenant}"
            _own(check_scope(scope, f"{path}.scope"), tenant)
            address = normalised(item.address, f"{path}.address")
            entry = Entry(
                scope,
                item.reason,
                item.source,
                _without_addresses(item.evidence),
                item.created_ms or now,
                item.expires_ms,
            )
            hasher = self._desk.hasher
            sealed = hasher.seal(address) if self._settings.keep_addresses else b""
            input_id = f"{batch}:{number}".encode()
            requests.append(Request(hasher.of(address), Suppress(entry, sealed), input_id))
        self._record(requests, "suppress", actor, reason, tenant)
        self._desk.change(now, requests)
        return Told(len(requests), self._desk.version)

    def add_roles(
        self, scope: str, *, default_tenant: str, tenant: str | None, actor: str, reason: str
    ) -> Told:
        """Put all roles (abuse@, postmaster@, ...) on the list, for every domain."""
        items = [
            Addition(address=f"{name}@", scope=scope, reason="role", source="roles")
            for name in sorted(ROLES)
        ]
        return self.add(
            items, default_tenant=default_tenant, tenant=tenant, actor=actor, reason=reason
        )

    def remove(
        self, items: Sequence[Removal], *, tenant: str | None, actor: str, reason: str
    ) -> Told:
        """Take addresses off the list. Raises: as `add`."""
        now, batch = self._now(), self._make_id()
        requests = []
        for number, item in enumerate(items):
            path = f"items[{number}]"
            digest = self._desk.hasher.of(normalised(item.address, f"{path}.address"))
            if item.scope:
                _own(check_scope(item.scope, f"{path}.scope"), tenant)
            held = self._desk.entries(digest)
            scopes = [item.scope] if item.scope else [one.scope for one in _of(held, tenant)]
            for n, scope in enumerate(dict.fromkeys(scopes)):
                input_id = f"{batch}:{number}:{n}".encode()
                requests.append(Request(digest, Lift(scope, item.reasons), input_id))
        self._record(requests, "unsuppress", actor, reason, tenant)
        self._desk.change(now, requests)
        return Told(len({request.digest for request in requests}), self._desk.version)

    def page(self, listing: Listing, tenant: str | None, asker: str = "") -> ListPage:
        """List entries. Raises: InputError: `after` is none of ours."""
        after = _digest(listing.after)
        found = self._desk.page(after, listing.limit, tenant, listing.reason, listing.scope)
        items = [_view(row.digest, row.address, one) for row in found.rows for one in row.entries]
        last = found.rows[-1].digest.hex() if found.rows else listing.after
        return ListPage(items, last, found.more, self._desk.version, asker)

    def check(
        self, address: str, tenant: str, stream: str = "", topic: str = "", *, whole: bool = False
    ) -> Checked:
        """Tell whether mail may go: on a stream and topic, or (`whole`) by any entry of tenant or operator."""
        text = normalised(address)
        now = self._now()
        local, _, domain = text.rpartition("@")
        names = [text] + ([f"@{domain}"] if local else [])
        names += [f"{local}@"] if local in ROLES and domain else []
        scopes = scopes_of(tenant, stream, topic)
        shown = []
        for name in names:
            digest = self._desk.hasher.of(name)
            for one in self._desk.entries(digest):
                mine = one.scope == OPERATOR or tenant_of_scope(one.scope) == tenant
                if one.holds(now) and (one.scope in scopes or (whole and mine)):
                    shown.append(_view(digest, name, one))
        return Checked(text, bool(shown), shown)

    def forget(self, address: str) -> None:
        """Keep of an address that is erased nothing but its hash."""
        try:
            digest = self._desk.digest(address)
        except InputError:
            return
        if not self._desk.entries(digest):
            return
        self._desk.change(
            self._now(), [Request(digest, Forget(), f"forget:{self._make_id()}".encode())]
        )

    def reported(
        self, address: str, scope: str, reason: str, *, source: str, evidence: str, input_id: str
    ) -> None:
        """Take what a recipient, or a provider for them, says; at once, and once for each input id.

        Raises: InputError: it is no address. StoreError.
        """
        now, hasher = self._now(), self._desk.hasher
        entry = Entry(scope, reason, source, evidence, now)
        named = normalised(address)
        sealed = hasher.seal(named) if self._settings.keep_addresses else b""
        self._desk.change(
            now, [Request(hasher.of(named), Suppress(entry, sealed), input_id.encode())]
        )

    def consented(self, address: str, scopes: Sequence[str]) -> None:
        """Lift what an unsubscribe put there, for scopes that the recipient has since asked for again."""
        try:
            digest = self._desk.digest(address)
        except InputError:
            return
        held = {one.scope for one in self._desk.entries(digest) if one.reason == "unsubscribe"}
        made = [
            Request(digest, Lift(scope, ("unsubscribe",)), f"{self._make_id()}:{scope}".encode())
            for scope in scopes
            if scope in held
        ]
        if made:
            self._desk.change(self._now(), made)

    def status(self) -> tuple[int, int, int]:
        """Tell version, entries in the sorted file, addresses changed since."""
        return self._desk.status()

    def _record(
        self,
        requests: Sequence[Request],
        action: str,
        actor: str,
        reason: str,
        tenant: str | None,
    ) -> None:
        """Write who asked and why before it is done; the content by its digest, which tells no address."""
        scopes = sorted({scope for one in requests if (scope := _scope_of(one))})
        shown = ", ".join(scopes[:5]) + (" and more" if len(scopes) > 5 else "")
        what = b"".join(one.digest + msgspec.msgpack.encode(one.body) for one in requests)
        change = Change(
            actor=actor,
            action=action,
            subject=f"suppression: {len(requests)} in {shown or 'no scope'}",
            tenant=tenant or "",
            reason=_without_addresses(reason),
            after=digest_of(what),
        )
        ControlFile(self._control_log).append(self._now(), change)


def _scope_of(request: Request) -> str:
    body = request.body
    if isinstance(body, Suppress):
        return body.entry.scope
    return body.scope if isinstance(body, Lift) else ""


def _own(scope: str, tenant: str | None) -> None:
    if tenant is not None and tenant_of_scope(scope) != tenant:
        raise RefusedError(f"the scope {scope} isn't yours", mend="an operator's key may touch it")


def _of(entries: Sequence[Entry], tenant: str | None) -> list[Entry]:
    return [one for one in entries if tenant is None or tenant_of_scope(one.scope) == tenant]


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InputError(f"{text[:40]!r} isn't where a list goes on", Place(path="after")) from None


def _without_addresses(text: str) -> str:
    """Leave out words with an address: it has no business in evidence or log."""
    return " ".join("(address)" if "@" in word else word for word in text.split())[:300]


def _view(digest: bytes, address: str, entry: Entry) -> EntryView:
    return EntryView(
        digest.hex(),
        address,
        entry.scope,
        entry.reason,
        entry.source,
        entry.evidence,
        entry.created,
        entry.expires,
    )
