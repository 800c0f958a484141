"""Reports and complaints in the wrappings that reporters use: packed, nested, inline, unlabelled, slightly broken."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile

import pytest

from deliverability.feedback.reader import read_file
from deliverability.feedback.reading import ComplaintReport, DmarcReport, TlsReport


def dmarc(report_id: str = "r1") -> bytes:
    """An aggregate report on seven messages."""
    return (
        f"<feedback><report_metadata><org_name>prov.test</org_name><report_id>{report_id}</report_id>"
        "<date_range><begin>1</begin><end>2</end></date_range></report_metadata>\n"
        "<policy_published><domain>shop.test</domain><p>none</p></policy_published>\n"
        "<record><row><source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated>"
        "<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row></record></feedback>"
    ).encode()


def tls() -> bytes:
    """A TLS report on four sessions."""
    summary = {"total-successful-session-count": 3, "total-failure-session-count": 1}
    policy = {"policy-type": "sts", "policy-domain": "shop.test"}
    return json.dumps(
        {
            "organization-name": "prov",
            "report-id": "t1",
            "policies": [{"policy": policy, "summary": summary}],
        }
    ).encode()


def zipped(*members: tuple[str, bytes]) -> bytes:
    """An archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def part(kind: str, content: bytes, *, plain: bool = False) -> bytes:
    """One part, in base64 unless plain."""
    if plain:
        return f"Content-Type: {kind}\n\n".encode() + content
    head = f"Content-Type: {kind}\nContent-Transfer-Encoding: base64\n\n".encode()
    return head + base64.encodebytes(content)


def mail(*parts: bytes, kind: str = "multipart/mixed") -> bytes:
    """A mail of these parts."""
    head = b"From: reports@prov.test\nTo: rua@shop.test\nSubject: Report Domain: shop.test\nMIME-Version: 1.0\n"
    body = b"".join(b"--b\n" + one + b"\n" for one in parts)
    return head + f'Content-Type: {kind}; boundary="b"\n\n'.encode() + body + b"--b--\n"


PACKED = gzip.compress(dmarc())
HEAD = (
    b"From: a@prov.test\nTo: rua@shop.test\nSubject: Report Domain: shop.test\nMIME-Version: 1.0\n"
)
REPORTS: dict[str, bytes] = {
    "gzip without name": mail(part("application/octet-stream", PACKED)),
    "odd type": mail(part('application/x-gzip-compressed; name="a.xml.gz"', PACKED)),
    "odd type without name": mail(part("application/x-zip-archive", zipped(("a.xml", dmarc())))),
    "the mail is the file": HEAD + part("application/gzip; name=a.gz", PACKED),
    "XML for words": HEAD + b"Content-Type: text/plain\n\n" + dmarc(),
    "XML in a part": mail(part("text/plain; charset=utf-8", dmarc(), plain=True)),
    "forwarded": mail(
        part("message/rfc822", mail(part("application/zip", zipped(("a", dmarc())))), plain=True)
    ),
    "gzip in zip": zipped(("a.xml.gz", PACKED)),
    "zip in gzip": gzip.compress(zipped(("a.xml", dmarc()))),
    "twice packed": gzip.compress(PACKED),
    "cut off": PACKED[:-6],
    "words before": b"a line before\n" + dmarc(),
    "a namespace": dmarc()
    .replace(b"<feedback>", b'<n:feedback xmlns:n="urn:x">')
    .replace(b"</feedback>", b"</n:feedback>"),
    "UTF-16": dmarc().decode().encode("utf-16"),
    "no end": dmarc()[:-11],
    "a fraction": dmarc().replace(b">7<", b">7.0<"),
    "space in a number": dmarc().replace(b">7<", b">\n 7 \n<"),
    "capital": dmarc().replace(b">pass<", b">Pass<"),
    "TLS by mail": mail(part("application/tlsrpt+gzip", gzip.compress(tls()))),
    "TLS unlabelled": mail(part("application/octet-stream", gzip.compress(tls()))),
    "TLS as words": mail(part("text/plain", tls(), plain=True)),
    "TLS, numbers as words": tls().replace(b": 3", b': "3"'),
    "TLS, a fraction": tls().replace(b": 3", b": 3.0"),
    "TLS, byte order mark": b"\xef\xbb\xbf" + tls().replace(b", ", b",\r\n"),
    "TLS, a list": b"[" + tls() + b"]",
    "TLS, one policy": tls().replace(b'"policies": [', b'"policies": ').replace(b"}]}", b"}}"),
    "TLS, a comma too many": tls().replace(b"}]}", b"},]}"),
}
MESSAGE = (
    b"Return-Path: <news@shop.test>\nReceived: from mx.shop.test ([192.0.2.1]) by x; Thu, 1 Jan 2015 00:00:00 +0000\n"
    b"From: News <news@shop.test>\nTo: ann@example.org\nSubject: Offers\nMessage-ID: <1@shop.test>\n\nHello\n"
)
FIELDS = b"Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 0.1\nSource-IP: 192.0.2.1\n"


def words(subject: str, body: bytes, sender: str = "abuse@isp.test") -> bytes:
    """A mail in words."""
    return f"From: {sender}\nTo: abuse@shop.test\nSubject: {subject}\n\n".encode() + body


COMPLAINTS: dict[str, bytes] = {
    "SpamCop": words(
        "[SpamCop (192.0.2.1) id:7654321]Offers",
        b"Email from 192.0.2.1 / Thu, 1 Jan 2015\n\n[ Offending message ]\n" + MESSAGE,
        "7654321@reports.spamcop.test",
    ),
    "an abuse desk": words(
        "Abuse report: mail from 192.0.2.1",
        b"Our user did not ask for this.\n\n---- Original message ----\n" + MESSAGE,
    ),
    "fields as words": words(
        "Complaint", b"A report on mail from 192.0.2.1\n\n" + FIELDS + b"\n" + MESSAGE
    ),
    "fields attached": mail(
        part("text/plain", b"See the files.\n", plain=True),
        part("application/octet-stream; name=report.txt", FIELDS, plain=True),
        part("message/rfc822", MESSAGE, plain=True),
    ),
    "packed fields": mail(
        part("message/feedback-report", FIELDS),
        part("text/rfc822-headers", MESSAGE, plain=True),
        kind="multipart/report; report-type=feedback-report",
    ),
}


@pytest.mark.parametrize("name", REPORTS)
def test_reports_are_found_in_any_wrapping(name: str) -> None:
    """The totals are those that were written, whatever is around them."""
    (one,) = read_file(REPORTS[name]).reports
    if name.startswith("TLS"):
        assert isinstance(one, TlsReport)
        assert [(p.domain, p.success, p.failure) for p in one.policies] == [("shop.test", 3, 1)]
        return
    assert isinstance(one, DmarcReport)
    assert (one.domain, one.messages, one.dkim_aligned, one.spf_aligned) == ("shop.test", 7, 7, 0)


def test_each_report_of_a_mail_or_archive_is_read_once() -> None:
    """Two attachments and two members make two reports; a repeated one counts once."""
    two = (("a.xml", dmarc()), ("readme.txt", b"hello"), ("b.xml", dmarc("r2")))
    attached = [part("application/gzip", gzip.compress(dmarc(name))) for name in ("r1", "r2")]
    for both in (zipped(*two), mail(*attached)):
        reports = read_file(both).reports
        assert [one.report_id for one in reports if isinstance(one, DmarcReport)] == ["r1", "r2"]
    assert len(read_file(zipped(("a.xml", dmarc()), ("b.xml", dmarc()))).reports) == 1


@pytest.mark.parametrize("name", COMPLAINTS)
def test_complaints_are_known_without_their_proper_form(name: str) -> None:
    """Fields of RFC 5965 under another type, and words where there are none."""
    reading = read_file(COMPLAINTS[name])
    (one,) = reading.reports
    assert isinstance(one, ComplaintReport)
    assert (reading.kind, one.source_ip, one.recipient) == (
        "complaint",
        "192.0.2.1",
        "ann@example.org",
    )


def test_a_mail_about_abuse_is_no_complaint() -> None:
    """The word alone accuses nobody: a complaint carries what it complains of."""
    assert read_file(words("Abuse report of last year", b"See the figures.\n")).kind == "other"
