"""The reception believes what proves itself, once, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backend import ItemResult
from actors.feedback.reception import Receipt, Reception, ReceptionParts, no_keys
from actors.suppression.desk import open_desk
from actors.suppression.service import Suppressions
from deliverability import reverse_path, tokens
from deliverability.dkim.foreign import sign_foreign
from deliverability.dkim.keys import SigningKey, dns_record, generate_pem, load_key
from deliverability.feedback.attribution import TenantKeys
from deliverability.feedback.reports import ReportBook
from deliverability.leaving import Leaving, seal
from deliverability.returned import Reported, Returned

NOW = 1_700_000_000_000
DAY = 86_400_000
RING = tokens.KeyRing(0, {0: b"s" * 32})
TAG = tokens.tenant_tag("default")
MESSAGE = bytes(range(16))
PATH = reverse_path.make(TAG, MESSAGE, RING, NOW) + "@shop.example"
LEAVE = "unsubscribe@shop.example"
BOUNCE = b"""From: MAILER-DAEMON@mx.example.net
To: %s
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied

<victim@elsewhere.example>: host mx.example.net said: 550 5.1.1 User unknown
"""
ARF = b"""From: staff@%s
To: fbl@shop.example
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
Version: 1
User-Agent: t/1
Original-Rcpt-To: ann@inbox.example
Reported-Domain: shop.example

--b
Content-Type: message/rfc822

From: hello@shop.example
Subject: hi

hello
--b--
"""


class Desk:
    """Messages that hear what comes back."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes, Returned]] = []
        self.seen: set[str] = set()

    async def __call__(self, reports: Sequence[Reported]) -> list[ItemResult]:
        return [self._take(one) for one in reports]

    def _take(self, one: Reported) -> ItemResult:
        if one.input_id in self.seen:
            return ItemResult("duplicate")
        self.seen.add(one.input_id)
        self.told.append((one.tenant, one.message_id, one.returned))
        return ItemResult("accepted")


def reception(desk: Desk, now: int = NOW, **changes: object) -> Reception:
    tenants = {"default": TenantKeys("default", RING, TAG, ("shop.example",))}
    parts = {
        "tenants": tenants,
        "told": desk,
        "key_of": no_keys,
        "now": lambda: now,
        "unsubscribes": frozenset((LEAVE,)),
        "book": ReportBook(),
    }
    return Reception(ReceptionParts(**{**parts, **changes}))  # type: ignore[arg-type] # by name


def take(one: Reception, mail: bytes, *to: str) -> Receipt:
    return asyncio.run(one.take(mail, to, "smtp"))


def test_a_bounce_is_about_the_message_whose_path_it_came_to() -> None:
    """It is told with its cause, whatever recipient it speaks of; again it has no effect."""
    desk = Desk()
    one = reception(desk)
    mail = BOUNCE % PATH.encode()
    first = take(one, mail, PATH)
    assert ("told", "default", MESSAGE.hex(), "reverse-path") == (
        first.result,
        first.tenant,
        first.message_id,
        first.proof,
    )
    assert take(one, mail, PATH).result == "repeated"
    (_, message, returned), *others = desk.told
    assert (
        message,
        returned.kind,
        returned.cause,
        returned.permanent,
    ) == (MESSAGE, "returned", "mailbox-unknown", True)
    assert others == []
    assert "victim" not in repr(returned)


@pytest.mark.parametrize(
    ("path", "now", "reason"),
    [
        (PATH[:30] + ("a" if PATH[30] != "a" else "b") + PATH[31:], NOW, "bad_signature"),
        ("v-short@shop.example", NOW, "malformed"),
        (PATH, NOW + 40 * DAY, "expired"),
        ("ann@shop.example", NOW, "unproven"),
    ],
)
def test_what_proves_nothing_is_refused_by_name(path: str, now: int, reason: str) -> None:
    """Forged, malformed, expired or plain: nobody hears of it, and it is counted."""
    desk = Desk()
    one = reception(desk, now)
    receipt = take(one, BOUNCE % path.encode(), path)
    assert ("refused", reason) == (receipt.result, receipt.reason)
    assert desk.told == []
    assert {f"smtp bounce refused {reason}": 1} == one.counts


def test_another_tenants_key_proves_nothing() -> None:
    """A path is bound to its tenant: signed by the same key for another name it is refused."""
    other = reverse_path.make(tokens.tenant_tag("other"), MESSAGE, RING, NOW) + "@shop.example"
    desk = Desk()
    assert take(reception(desk), BOUNCE % other.encode(), other).result == "refused"
    assert desk.told == []


def test_a_mail_to_the_unsubscribe_address_needs_our_token() -> None:
    """With the token of List-Unsubscribe in its subject it unsubscribes; without, it is refused."""
    token = tokens.make(tokens.Token(tokens.UNSUBSCRIBE, TAG, MESSAGE, NOW // DAY + 9), RING)
    desk = Desk()
    one = reception(desk)
    mail = b"From: ann@inbox.example\nTo: %s\nSubject: %s\n\n\n"
    done = take(one, mail % (LEAVE.encode(), token.encode()), LEAVE)
    assert (done.result, done.proof) == ("told", "token")
    assert desk.told[0][2].kind == "unsubscribed"
    forged = take(one, mail % (LEAVE.encode(), token[:-1].encode() + b"x"), LEAVE)
    assert forged.result != "told"
    assert len(desk.told) == 1


def test_a_token_by_mail_outlives_its_message() -> None:
    """It brings what it knows, also when a client wrote its long subject in encoded words."""
    leaving = Leaving("c1", "marketing", "news")
    named = (tokens.UNSUBSCRIBE, TAG, MESSAGE, NOW // DAY + 9, seal(leaving, RING, MESSAGE))
    token = tokens.make(tokens.Token(*named), RING)
    halves = f"=?utf-8?q?{token[:40]}?=\n =?utf-8?q?{token[40:]}?="
    for subject in (token, halves):
        desk = Desk()
        mail = f"From: ann@inbox.example\nTo: {LEAVE}\nSubject: {subject}\n\n\n"
        assert take(reception(desk), mail.encode(), LEAVE).result == "told"
        assert desk.told[0][2].leaving == leaving


def test_a_complaint_of_a_stranger_needs_a_known_signature(tmp_path: Path) -> None:
    """Without DKIM, or signed by a stranger, it suppresses nobody; signed by a known reporter it does."""
    list_ = Suppressions(open_desk(tmp_path, "memory"), tmp_path / "log", lambda: NOW, lambda: "x")
    key = key_for("hotmail.com")

    async def key_of(name: str) -> bytes | None:
        return dns_record(key).encode() if name.endswith("hotmail.com") else None

    desk = Desk()
    one = reception(desk, suppressions=list_, key_of=key_of)
    plain = ARF % b"hotmail.com"
    assert take(one, plain, "fbl@shop.example").reason == "unproven"
    stranger = _signed(ARF % b"evil.example", key_for("evil.example"))
    assert take(one, stranger, "fbl@shop.example").reason == "unproven"
    forged = _signed(plain, key_for("hotmail.com"))
    assert take(one, forged, "fbl@shop.example").reason == "unproven"
    assert not list_.check("ann@inbox.example", "default", whole=True).suppressed
    signed = take(one, _signed(plain, key), "fbl@shop.example")
    assert (signed.result, signed.proof) == ("suppressed", "dkim:hotmail.com")
    assert list_.check("ann@inbox.example", "default", whole=True).suppressed
    assert desk.told == []


def key_for(domain: str) -> SigningKey:
    return load_key(generate_pem("rsa-sha256"), domain, "s1")


def _signed(mail: bytes, key: SigningKey) -> bytes:
    wire = mail.replace(b"\n", b"\r\n")
    head, _, body = wire.partition(b"\r\n\r\n")
    return sign_foreign(head + b"\r\n", body, [key], NOW) + wire


def test_reports_are_noted_once() -> None:
    """A DMARC report goes to the findings, and a second copy counts nothing."""
    book = ReportBook()
    one = reception(Desk(), book=book)
    report = (
        b"<feedback><report_metadata><org_name>p</org_name><report_id>1</report_id></report_metadata>"
        b"<policy_published><domain>shop.example</domain></policy_published><record><row>"
        b"<source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated><dkim>fail</dkim>"
        b"<spf>fail</spf></policy_evaluated></row></record></feedback>"
    )
    assert [take(one, report).result for _ in range(2)] == ["noted", "repeated"]
    assert [(line.source, line.sums(0)) for line in book.sources()] == [("192.0.2.1", (7, 0))]


@given(st.binary(max_size=2000), st.text(max_size=80))
def test_any_mail_gets_an_answer_and_tells_nobody(mail: bytes, to: str) -> None:
    """Whatever arrives, without a proof nobody hears of it."""
    desk = Desk()
    receipt = take(reception(desk), mail, to)
    assert receipt.result in ("refused", "ignored", "noted", "repeated")
    assert desk.told == []
