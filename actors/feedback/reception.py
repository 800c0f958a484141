"""Takes one mail that came back, decides what it is about, and tells it.

Each mail has one effect, however often it comes.

read ──▶ attribute ──▶ the message (durably, under the mail's digest) ──▶ contact, feed, suppression list
└── DMARC or TLS report ──▶ findings
"""

from __future__ import annotations

__all__ = (
    "Receipt",
    "Reception",
    "ReceptionParts",
    "no_keys",
    "tenant_keys",
    "unsubscribe_addresses",
)

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Literal, Protocol

import msgspec
import structlog

from actors.backend import ItemResult
from actors.feedback.signers import KeyOf, known_signers
from actors.suppression.service import Suppressions
from deliverability.feedback.addresses import addresses_in
from deliverability.feedback.attribution import (
    Attribution,
    TenantKeys,
    attribute,
    reporter_of,
)
from deliverability.feedback.mime import header_block
from deliverability.feedback.reader import read
from deliverability.feedback.reading import Reading
from deliverability.feedback.reports import ReportBook
from deliverability.returned import Reported, Returned
from deliverability.suppression.entry import scope_of
from deliverability.tokens import KeyRing, tenant_tag
from engine.config import Config

log = structlog.get_logger()

DIGEST_CHARS = 32
HEADER_BYTES = 256 * 1024
_TO = ("x-original-to", "delivered-to", "envelope-to", "to")
_COMPLAINTS = ("complaint", "opt-out")

Way = Literal["smtp", "http", "import"]


class Told(Protocol):
    """Gives reports to the partitions of their messages; durable when it returns (`Backend.returned`)."""

    def __call__(self, reports: Sequence[Reported]) -> Awaitable[list[ItemResult]]:
        """Idempotent by input id. Raises: CapacityError, StoreError: it may be told again."""


class Receipt(msgspec.Struct, frozen=True):
    """What became of one mail.

    told: a message heard of it. repeated: it had come before. suppressed: no message was named, its address was put on
    the list. noted: a report for the findings. refused: not believed, for the reason. ignored: it says nothing to us.
    """

    kind: str  # of the reading
    result: Literal["told", "repeated", "suppressed", "noted", "refused", "ignored"]
    reason: str = ""
    tenant: str = ""
    message_id: str = ""
    cause: str = ""
    proof: str = ""
    report: str = ""


class ReceptionParts(msgspec.Struct, frozen=True):
    """The world of a reception."""

    tenants: Mapping[str, TenantKeys]
    told: Told
    key_of: KeyOf
    now: Callable[[], int]
    suppressions: Suppressions | None = None
    book: ReportBook | None = None
    reporters: Sequence[str] = ()
    unsubscribes: frozenset[str] = frozenset()  # addresses that List-Unsubscribe names


class Reception:
    """One for all ways in."""

    def __init__(self, parts: ReceptionParts) -> None:
        self._parts = parts
        self.counts: Counter[str] = Counter()
        """`way kind result reason` -> how many mails."""

    async def take(self, mail: bytes, to: Iterable[str], way: Way) -> Receipt:
        """Take one mail. `to`: the envelope's forward-path; empty: as its header says.

        Raises: CapacityError, StoreError: it may be given again.
        """
        digest = sha256(mail).hexdigest()[:DIGEST_CHARS]
        reading = read(mail)
        asked = tuple(to) or _addressed(mail)
        receipt = await self._decide(mail, asked, reading, digest)
        self.counts[f"{way} {receipt.kind} {receipt.result} {receipt.reason}".rstrip()] += 1
        log.info(
            "feedback_taken",
            way=way,
            kind=receipt.kind,
            result=receipt.result,
            reason=receipt.reason,
            report=digest,
        )
        return receipt

    async def _decide(
        self, mail: bytes, to: Sequence[str], reading: Reading, digest: str
    ) -> Receipt:
        parts = self._parts
        kind = reading.kind
        if parts.book is not None and parts.book.takes(reading):
            fresh = parts.book.note(reading, parts.now(), digest)
            return Receipt(kind, "noted" if fresh else "repeated", report=digest)
        now = parts.now()
        leaving = any(address.lower() in parts.unsubscribes for address in to)
        found = attribute(reading, mail, to, parts.tenants, now, digest=digest, leaving=leaving)
        if found.refused == "unproven" and kind in _COMPLAINTS:
            signers = await known_signers(mail, parts.key_of, parts.reporters)
            reporter = reporter_of(signers, parts.reporters)
            if reporter:
                found = attribute(reading, mail, to, parts.tenants, now, reporter, digest)
        if found.refused or found.returned is None:
            reason = found.refused or "nothing_to_do"
            ignored = reason == "nothing_to_do" or kind == "other"
            return Receipt(kind, "ignored" if ignored else "refused", reason, report=digest)
        return await self._tell(kind, found, found.returned, digest)

    async def _tell(
        self, kind: str, found: Attribution, returned: Returned, digest: str
    ) -> Receipt:
        proof = found.proof
        said = (returned.cause, returned.proof, digest)
        if proof is None:
            self._suppress(found, returned, digest)
            return Receipt(kind, "suppressed", "", found.tenant, "", *said)
        report = Reported(proof.tenant, proof.message_id, returned, f"report\x1f{digest}")
        (result,) = await self._parts.told([report])
        message = proof.message_id.hex()
        if result.status == "refused":
            return Receipt(kind, "refused", result.reason, proof.tenant, message, *said)
        known = "repeated" if result.status == "duplicate" else "told"
        return Receipt(kind, known, "", proof.tenant, message, *said)  # type: ignore[arg-type] # one of both

    def _suppress(self, found: Attribution, returned: Returned, digest: str) -> None:
        """A known reporter named an address of mail of ours, but no message."""
        if self._parts.suppressions is None:
            return
        reason = "unsubscribe" if returned.kind == "unsubscribed" else "complaint"
        self._parts.suppressions.reported(
            found.address,
            scope_of("tenant", found.tenant),
            reason,
            source=returned.proof,
            evidence=f"report {digest}",
            input_id=f"report {digest}",
        )


def _addressed(mail: bytes) -> tuple[str, ...]:
    """Find in the header whom a mail came to, where no envelope tells it."""
    header, _ = header_block(mail[:HEADER_BYTES].replace(b"\r\n", b"\n"))
    found = [
        address for name in _TO for value in header.all(name) for address in addresses_in(value, 5)
    ]
    return tuple(dict.fromkeys(found))


def tenant_keys(config: Config, rings: Mapping[str, KeyRing]) -> dict[str, TenantKeys]:
    """Make what verifies the paths and tokens of all tenants."""
    return {
        tenant.name: TenantKeys(
            tenant.name, rings[tenant.name], tenant_tag(tenant.name), tuple(tenant.from_domains)
        )
        for tenant in config.tenant
    }


def unsubscribe_addresses(config: Config) -> frozenset[str]:
    """Give the addresses that `List-Unsubscribe` names. As `actors.worker.rendering` writes them."""
    found = set()
    for tenant in config.tenant:
        domain = tenant.from_address.rpartition("@")[2]
        domain = domain or next(iter(tenant.from_domains), "localhost")
        found.add(f"unsubscribe@{tenant.reverse_path_domain or domain}".lower())
    return frozenset(found)


async def no_keys(name: str) -> bytes | None:
    """Know no key: where there is no DNS."""
    del name
    await asyncio.sleep(0)
    return None
