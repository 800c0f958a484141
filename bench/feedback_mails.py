"""Bounces and replies as they come: forms of mail servers, reasons in their words, addresses that differ each time."""

from __future__ import annotations

__all__ = ("mails", "replies")

import random
from collections.abc import Iterator

_REASONS = (
    ("550", "5.1.1", "<{to}>: Recipient address rejected: User unknown in virtual mailbox table"),
    ("550", "5.1.1", "The email account that you tried to reach does not exist. {id} - gsmtp"),
    ("552", "5.2.2", "<{to}> mailbox is full, quota exceeded by {n} bytes"),
    (
        "554",
        "5.7.1",
        "Service unavailable; Client host [{ip}] blocked using a list; see https://bl.example/{ip}",
    ),
    (
        "550",
        "5.7.26",
        "Unauthenticated email from shop.example is not accepted due to the domain's DMARC policy {id}",
    ),
    ("554", "5.7.1", "Message {id} refused: it looks like spam (score {n})"),
    ("450", "4.2.0", "<{to}>: Recipient address rejected: Greylisted, try again in 300 seconds"),
    (
        "421",
        "4.7.0",
        "[{ip}] Our system has detected an unusual rate of mail from your address {id}",
    ),
    ("550", "5.2.1", "The account {to} is disabled"),
    ("550", "5.4.1", "Recipient address rejected: Access denied. [{id}.prod.mx.example]"),
    ("552", "5.3.4", "Message size exceeds fixed limit of {n} bytes"),
    ("451", "4.3.2", "Temporary local problem, please come back later ({id})"),
)
_HEADER = (
    "Received: by relay.example (Postfix) id {id}; Mon, 1 Jan 2024 00:00:00 +0000\n"
    "Date: Mon, 1 Jan 2024 00:00:00 +0000\nFrom: MAILER-DAEMON@relay.example (Mail Delivery System)\n"
    "To: v-bounce@shop.example\nMessage-Id: <{id}@relay.example>\nSubject: {subject}\n"
)
_COPY = (
    "Return-Path: <v-bounce@shop.example>\nReceived: from shop.example by relay.example with ESMTP id {id}\n"
    "DKIM-Signature: v=1; a=rsa-sha256; d=shop.example; s=s1; bh=AAAA; b=BBBB\n"
    "From: The shop <hello@shop.example>\nTo: {to}\nSubject: This week's offers\nMIME-Version: 1.0\n"
    "Message-ID: <{id}@shop.example>\nContent-Type: text/html; charset=utf-8\n"
)
_BODY = "<p>Good news for you this week. Have a look at what is new in the shop.</p>\n" * 40
_POSTFIX = (
    'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="{id}"\n\n'
    "--{id}\nContent-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\n"
    "This is the mail system at host relay.example.\n\nI'm sorry to have to inform you that your message could not\n"
    "be delivered to one or more recipients. It's attached below.\n\n<{to}>: host mx.{domain}[{ip}] said: {code}\n"
    "    {enhanced} {text} (in reply to RCPT TO command)\n\n--{id}\nContent-Type: message/delivery-status\n\n"
    "Reporting-MTA: dns; relay.example\nArrival-Date: Mon, 1 Jan 2024 00:00:00 +0000\n\n"
    "Final-Recipient: rfc822; {to}\nOriginal-Recipient: rfc822;{to}\nAction: failed\nStatus: {enhanced}\n"
    "Remote-MTA: dns; mx.{domain}\nDiagnostic-Code: smtp; {code} {enhanced} {text}\n\n"
    "--{id}\nContent-Type: message/rfc822\n\n{copy}\n{body}\n--{id}--\n"
)
_EXIM = (
    "X-Failed-Recipients: {to}\nAuto-Submitted: auto-replied\n\n"
    "This message was created automatically by mail delivery software.\n\nA message that you sent could not be "
    "delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n"
    "  {to}\n    host mx.{domain} [{ip}]\n    SMTP error from remote mail server after RCPT TO:<{to}>:\n"
    "    {code} {enhanced} {text}\n\n------ This is a copy of the message, including all the headers. ------\n\n"
    "{copy}\n{body}"
)
_QMAIL = (
    "\nHi. This is the qmail-send program at relay.example.\nI'm afraid I wasn't able to deliver your message to the "
    "following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n<{to}>:\n"
    "{ip} does not like recipient.\nRemote host said: {code} {enhanced} {text}\nGiving up on {ip}.\n\n"
    "--- Below this line is a copy of the message.\n\n{copy}\n{body}"
)
_FORMS = (
    (_POSTFIX, "Undelivered Mail Returned to Sender"),
    (_POSTFIX, "Undelivered Mail Returned to Sender"),
    (_EXIM, "Mail delivery failed: returning message to sender"),
    (_QMAIL, "failure notice"),
)


def mails(number: int, seed: int) -> Iterator[bytes]:
    """Make bounces of 4 to 5 KB, each with its own address, ids and address of a host."""
    chance = random.Random(seed)
    for n in range(number):
        form, subject = chance.choice(_FORMS)
        facts = _facts(chance, n)
        code, enhanced, text = chance.choice(_REASONS)
        text = text.format(**facts)
        copy = _COPY.format(**facts)
        filled = form.format(
            code=code, enhanced=enhanced, text=text, copy=copy, body=_BODY, **facts
        )
        yield (_HEADER.format(subject=subject, **facts) + filled).encode()


def replies(number: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Make replies: code, enhanced code, text."""
    chance = random.Random(seed)
    for n in range(number):
        code, enhanced, text = chance.choice(_REASONS)
        yield code, enhanced, text.format(**_facts(chance, n))


def _facts(chance: random.Random, n: int) -> dict[str, str]:
    domain = f"d{chance.randrange(500)}.example"
    return {
        "to": f"person.{n}@{domain}",
        "domain": domain,
        "ip": f"192.0.2.{chance.randrange(256)}",
        "id": f"{chance.getrandbits(44):011X}",
        "n": str(chance.randrange(10**6, 10**8)),
    }
