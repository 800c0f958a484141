"""A sender whose preflight passes, and pieces to break: a zone, a key, a message."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from deliverability.dkim.foreign import sign_foreign
from deliverability.dkim.keys import SigningKey, dns_record, generate_pem, load_key
from deliverability.dns.asking import run
from deliverability.dns.zone import parse_zone
from deliverability.preflight.examine import examine
from deliverability.preflight.findings import Finding, Report
from deliverability.preflight.subject import EndpointAnswer, Source, Subject

NOW = 1_790_000_000_000
URL = "https://shop.example/u/token"

ZONE = """
["shop.example"]
MX = "10 mx.shop.example"
A = "192.0.2.80"
TXT = "v=spf1 ip4:192.0.2.1 -all"
["bounce.shop.example"]
MX = "10 mx.shop.example"
TXT = "v=spf1 ip4:192.0.2.1 include:relay.example -all"
["relay.example"]
TXT = "v=spf1 ip4:203.0.113.0/24 -all"
["mx.shop.example"]
A = "192.0.2.1"
["192.0.2.1"]
PTR = "mx.shop.example"
["_dmarc.shop.example"]
TXT = "v=DMARC1; p=quarantine; rua=mailto:dmarc@shop.example"
"""

HTML = f"""<html><body><h1>Hello</h1><p>{"A word of news. " * 20}</p>
<a href="https://shop.example/news">www.shop.example/news</a>
<img src="https://shop.example/i.png" alt="A picture" width="600" height="200">
<img src="https://shop.example/o/x" width="1" height="1" alt="">
<p><a href="{URL}">Unsubscribe</a></p></body></html>"""

FIELDS = {
    "From": "Shop <news@shop.example>",
    "To": "reader@example.net",
    "Subject": "News",
    "Date": "Mon, 23 Nov 2026 09:00:00 +0000",
    "Message-ID": "<1@shop.example>",
    "Feedback-ID": "november:marketing:news:shop",
    "List-Unsubscribe": f"<{URL}>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "MIME-Version": "1.0",
    "Content-Type": 'multipart/alternative; boundary="b"',
}


@cache
def key() -> SigningKey:
    """The key of shop.example."""
    return load_key(generate_pem("rsa-sha256"), "shop.example", "s1")


def zone(more: str = "") -> str:
    """The zone with the key's record."""
    return f'{ZONE}["s1._domainkey.shop.example"]\nTXT = "{dns_record(key())}"\n{more}'


def message(
    fields: Mapping[str, str | None] | None = None,
    html: str = HTML,
    more: str = "",
    signed: bool = True,
) -> bytes:
    """A message; a field given as None is left out, `more` are further parts."""
    named = FIELDS | dict(fields or {})
    headers = "\r\n".join(f"{name}: {value}" for name, value in named.items() if value is not None)
    body = (
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello, news.\r\n"
        f"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html.replace(chr(10), chr(13) + chr(10))}\r\n"
        f"{more}--b--\r\n"
    )
    raw = f"{headers}\r\n\r\n{body}".encode()
    if not signed:
        return raw
    head, _, rest = raw.partition(b"\r\n\r\n")
    return sign_foreign(head, rest, (key(),), NOW) + raw


def subject(raw: bytes = b"", **changes: object) -> Subject:
    """A subject with all that is needed told."""
    given: dict[str, object] = {
        "target": "test",
        "kind": "message" if raw else "domain",
        "from_domain": "shop.example",
        "mail_from_domain": "bounce.shop.example",
        "message": raw,
        "sources": (Source("192.0.2.1", "mx.shop.example"),),
        "keys": (key(),),
        "tls": "required",
        "asks_consent": True,
        "endpoints": {URL: EndpointAnswer(200, 120)},
    }
    return Subject(**(given | changes))  # type: ignore[arg-type]  # a table of known fields


def report_on(one: Subject, records: str = "") -> Report:
    """Examine a subject on the zone."""
    return run(examine(one, NOW), parse_zone(records or zone()).answer)


def found(report: Report, check: str, verdict: str = "") -> list[Finding]:
    """The findings of a check, that aren't passes unless asked for."""
    return [
        one
        for one in report.findings
        if one.check == check and (one.verdict == verdict if verdict else one.verdict != "pass")
    ]
