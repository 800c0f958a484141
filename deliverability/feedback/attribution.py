"""Whose message is a report about, and how far is it believed. Pure.

Feedback is believed as far as it proves itself:

- It came to a reverse-path that we signed: then it is about that message, whatever else it says.
- It carries such a reverse-path, or the token of our unsubscribe link, in the message that it complains of: whoever has
  it had the message, and can only speak for its own recipient.
- A known reporter's DKIM signature covers it: then the recipient and the message that it names are believed.

Anything else is counted and shown, and suppresses nobody. What is refused, is refused by name (`Refused.reason`).
"""

from __future__ import annotations

__all__ = (
    "KNOWN_REPORTERS",
    "Attribution",
    "Proof",
    "Signer",
    "TenantKeys",
    "attribute",
    "is_ours",
    "read_path",
    "reporter_of",
)

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from deliverability import reverse_path, tokens
from deliverability.feedback.mime import decode_words, header_block
from deliverability.feedback.reading import ComplaintReport, Reading, RecipientReport
from deliverability.leaving import Leaving, unseal
from deliverability.returned import Returned, ReturnedKind
from deliverability.tokens import KeyRing, Refusal

SCAN_BYTES = 512 * 1024  # of a mail that are searched for signed paths and tokens
SUBJECT_BYTES = 32 * 1024  # in which the subject must stand
CANDIDATES_MAX = 32  # that are verified of one mail: each costs an HMAC
_PATH = re.compile(rb"(?<![a-z0-9-])(v-[a-z2-7]{56})(?![a-z2-7])@?", re.IGNORECASE)
_TOKEN = re.compile(rb"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{48,560})(?![A-Za-z0-9_-])")
_MESSAGE_ID = re.compile(r"\A<?([0-9a-f]{32})[.@]")

KNOWN_REPORTERS = (
    *("hotmail.com", "outlook.com", "microsoft.com"),  # JMRP
    *("yahoo-inc.com", "yahooinc.com", "yahoo.com", "aol.net"),  # CFL
    *(
        "senderscore.net",
        "returnpath.net",
        "validity.com",
    ),  # Comcast, Cox, Rackspace, ... by Validity
    *("mail.ru", "yandex.ru", "laposte.net", "signal-spam.fr", "abuse.net", "spamcop.net"),
    *("fastmail.com", "messagingengine.com", "zoho.com", "synacor.com", "earthlink.net"),
    *("terra.com.br", "uol.com.br", "libero.it", "telenor.net", "xs4all.nl", "seznam.cz"),
)
"""Domains whose signature makes a complaint believed; a domain below one counts too. The configuration adds others."""

_KINDS: dict[str, ReturnedKind] = {
    "bounce": "returned",
    "delay": "delayed",
    "auto-reply": "auto_replied",
    "complaint": "complained",
    "opt-out": "unsubscribed",
}

Reason = Literal[
    "malformed",  # the local part isn't one that we make
    "unknown_key",
    "bad_signature",  # forged
    "expired",
    "unproven",  # no proof whose message it is
    "nothing_to_do",  # proven, but says nothing that we act on
]


class TenantKeys(msgspec.Struct, frozen=True):
    """What verifies the paths and tokens of a tenant. `domains`: that it may write in From."""

    name: str
    ring: KeyRing
    tag: int
    domains: tuple[str, ...] = ()


class Signer(msgspec.Struct, frozen=True):
    """A signature that verifies: its SDID (RFC 6376 §2.5)."""

    domain: str


class Proof(msgspec.Struct, frozen=True):
    """Whose message it is."""

    tenant: str
    message_id: bytes
    by: str  # reverse-path, token, dkim:DOMAIN
    leaving: Leaving | None = None  # what a token knows without the message


class Attribution(msgspec.Struct, frozen=True):
    """What to do about a report: tell a message, or, where no message is named, an address of a tenant."""

    proof: Proof | None = None
    returned: Returned | None = None
    tenant: str = ""
    address: str = ""
    refused: Reason | Literal[""] = ""


def is_ours(local_part: str) -> bool:
    """Tell whether a local part has the form of a signed reverse-path."""
    return local_part[:2].lower() == reverse_path.PREFIX


def read_path(local_part: str, tenants: Iterable[TenantKeys], now: int) -> Proof | Reason:
    """Verify a reverse-path that mail came to."""
    reason: Reason = "malformed"
    for tenant in tenants:
        found = reverse_path.read(local_part, tenant.ring, now)
        if isinstance(found, reverse_path.Verified):
            if found.tenant == tenant.tag:
                return Proof(tenant.name, found.message_id, "reverse-path")
            continue
        if reason in ("malformed", "bad_signature") and found.reason is not Refusal.MALFORMED:
            reason = found.reason.value
    return reason


def reporter_of(signers: Iterable[Signer], more: Iterable[str] = ()) -> str:
    """Name the known reporter among verified signers, or ""."""
    known = (*KNOWN_REPORTERS, *more)
    for signer in signers:
        domain = signer.domain.lower()
        if any(domain == one or domain.endswith("." + one) for one in known):
            return domain
    return ""


def attribute(
    reading: Reading,
    mail: bytes,
    to: Iterable[str],
    tenants: Mapping[str, TenantKeys],
    now: int,
    reporter: str = "",
    digest: str = "",
    leaving: bool = False,
) -> Attribution:
    """Decide what a report is about.

    Args:
        reading: what it says.
        mail: its bytes, in which signed paths are looked for.
        to: addresses that it came to, the envelope's alone where there was one.
        tenants: whose keys verify.
        now: ms.
        reporter: a known one whose signature was verified.
        digest: of the mail, in hexadecimal.
        leaving: it came to the address that unsubscribes; our token in it is all that it need say.
    """
    addressed, reason = _addressed(to, tenants, now)
    kind = _KINDS.get(reading.kind)
    if leaving and reading.kind == "other":
        kind = "unsubscribed"
    if kind is None:
        return Attribution(addressed, refused="nothing_to_do" if addressed else "unproven")
    said = _said(reading, kind, digest)
    if addressed is not None:
        return Attribution(addressed, _with(said, addressed.by, reporter))
    if kind in ("complained", "unsubscribed"):
        carried = next(_carried(mail, tenants, now), None)
        if carried is not None:
            if kind == "unsubscribed":
                said = msgspec.structs.replace(said, leaving=carried.leaving)
            return Attribution(carried, _with(said, carried.by, reporter))
        if reporter:
            return _by_reporter(reading, said, tenants, reporter)
    return Attribution(refused=reason or "unproven")


def _addressed(
    to: Iterable[str], tenants: Mapping[str, TenantKeys], now: int
) -> tuple[Proof | None, Reason | Literal[""]]:
    """Verify the address that it came to, if it is one of ours."""
    refused: Reason | Literal[""] = ""
    for address in list(to)[:10]:
        local = address.rpartition("@")[0]
        if not is_ours(local):
            continue
        found = read_path(local, tenants.values(), now)
        if isinstance(found, Proof):
            return found, ""
        refused = found
    return None, refused


def _carried(mail: bytes, tenants: Mapping[str, TenantKeys], now: int) -> Iterator[Proof]:
    """Find signed paths and unsubscribe tokens in what a report carries."""
    head = mail[:SCAN_BYTES]
    looked = 0
    for found in _PATH.finditer(head):
        looked += 1
        if looked > CANDIDATES_MAX:
            return
        proof = read_path(found.group(1).decode("ascii"), tenants.values(), now)
        if isinstance(proof, Proof):
            yield proof
    unfolded = re.sub(
        rb"=?\r?\n[ \t]?", b"", head
    )  # a token may be folded, or cut by quoted-printable
    for text in (head, unfolded, _subject(head)):
        for found in _TOKEN.finditer(text):
            looked += 1
            if looked > 4 * CANDIDATES_MAX:
                return
            by_token = _by_token(found.group(1).decode("ascii"), tenants, now)
            if by_token is not None:
                yield by_token


def _subject(head: bytes) -> bytes:
    """The decoded subject: a long token is written as encoded words by some clients (RFC 2047)."""
    header, _ = header_block(head[:SUBJECT_BYTES])
    return decode_words(header.get("subject")).encode("ascii", "replace")


def _by_token(text: str, tenants: Mapping[str, TenantKeys], now: int) -> Proof | None:
    for tenant in tenants.values():
        token = tokens.read(text, tokens.UNSUBSCRIBE, tenant.ring, now)
        if isinstance(token, tokens.Token) and token.tenant == tenant.tag:
            return Proof(tenant.name, token.message_id, "token", unseal(token, tenant.ring))
    return None


def _by_reporter(
    reading: Reading, said: Returned, tenants: Mapping[str, TenantKeys], reporter: str
) -> Attribution:
    """Believe what a known reporter names: the message by its Message-ID, else the recipient of a domain of ours."""
    proof = f"dkim:{reporter}"
    for report in reading.reports:
        if not isinstance(report, ComplaintReport):
            continue
        tenant = _tenant_of(report, tenants)
        if tenant is None:
            continue
        named = _MESSAGE_ID.match(report.message_id)
        if named is not None:
            message_id = bytes.fromhex(named.group(1))
            return Attribution(Proof(tenant.name, message_id, proof), _with(said, proof, reporter))
        if "@" in report.recipient and not report.recipient.endswith("@invalid"):
            returned = _with(said, proof, reporter)
            return Attribution(None, returned, tenant.name, report.recipient)
    return Attribution(refused="unproven")


def _tenant_of(report: ComplaintReport, tenants: Mapping[str, TenantKeys]) -> TenantKeys | None:
    named = {report.reported_domain.lower(), report.original_sender.rpartition("@")[2].lower()}
    for tenant in tenants.values():
        for domain in tenant.domains:
            if any(name == domain or name.endswith("." + domain) for name in named):
                return tenant
    return None


def _said(reading: Reading, kind: ReturnedKind, digest: str) -> Returned:
    """Take the gravest report of one message: it went to one recipient, whatever else the mail speaks of."""
    failed = [report for report in reading.reports if isinstance(report, RecipientReport)]
    if not failed:
        return Returned(kind, cause="complaint" if kind == "complained" else "", report=digest)
    gravest = max(failed, key=lambda one: (one.permanent, one.rejected, bool(one.status)))
    return Returned(
        kind,
        gravest.cause,
        gravest.permanent and kind == "returned",
        gravest.status[:20],
        gravest.reply_code[:3],
        _host(gravest.remote_mta),
        report=digest,
    )


def _with(said: Returned, proof: str, reporter: str) -> Returned:
    return msgspec.structs.replace(said, proof=proof, reporter=reporter or said.reporter)


def _host(text: str) -> str:
    """Keep a host's name, not what else a report writes in its field."""
    name = text.rpartition(";")[2].strip().lower()
    return name[:255] if re.fullmatch(r"[a-z0-9.:\[\]-]{1,255}", name) else ""
