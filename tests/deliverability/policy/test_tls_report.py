"""Reports on TLS: counts, the JSON of a day, the mail; read back by our own reader of reports."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import gzip
import json
from pathlib import Path

from deliverability.feedback.tlsrpt import read_tlsrpt
from deliverability.policy.tls_report import (
    SessionRow,
    TlsCounts,
    TlsReportFrame,
    compose_report,
    report_file_name,
    report_mail,
)
from deliverability.transport.tls_files import TlsCountFile, read_counts

FRAME = TlsReportFrame("Shop", "tls-reports@shop.example", "shop.example", dt.date(2026, 11, 26))
GOOD = SessionRow("a.test", "sts", ("version: STSv1", "mode: enforce"), ("mx.a.test",), "mx.a.test")
BAD = SessionRow(
    "a.test",
    "sts",
    GOOD.policy_lines,
    GOOD.mx_patterns,
    "mx.a.test",
    "192.0.2.1",
    "192.0.2.9",
    "certificate-expired",
    "certificate has expired",
)
PLAIN = SessionRow("a.test", "no-policy-found", host="mx.a.test", failure="starttls-not-supported")
OTHER = SessionRow("b.test", "no-policy-found", host="mx.b.test")
ROWS = [(GOOD, 5), (BAD, 2), (PLAIN, 1), (OTHER, 7)]


def test_a_report_has_one_part_for_each_policy_of_the_domain() -> None:
    """Sums and details as RFC 8460 §4.4 has them, and nothing of other domains."""
    tree = json.loads(gzip.decompress(compose_report(FRAME, "a.test", ROWS)))
    assert tree["date-range"] == {
        "start-datetime": "2026-11-26T00:00:00Z",
        "end-datetime": "2026-11-26T23:59:59Z",
    }
    plain, sts = tree["policies"]
    assert plain["policy"] == {"policy-type": "no-policy-found", "policy-domain": "a.test"}
    assert sts["policy"]["policy-string"] == ["version: STSv1", "mode: enforce"]
    assert sts["policy"]["mx-host"] == ["mx.a.test"]
    assert sts["summary"] == {
        "total-successful-session-count": 5,
        "total-failure-session-count": 2,
    }
    assert sts["failure-details"] == [
        {
            "result-type": "certificate-expired",
            "sending-mta-ip": "192.0.2.9",
            "receiving-mx-hostname": "mx.a.test",
            "receiving-ip": "192.0.2.1",
            "failure-reason-code": "certificate has expired",
            "failed-session-count": 2,
        }
    ]


def test_our_own_reader_reads_it() -> None:
    """What we send is what we would like to get."""
    (read,) = read_tlsrpt(gzip.decompress(compose_report(FRAME, "a.test", ROWS)))
    assert [(p.type, p.success, p.failure) for p in read.policies] == [
        ("no-policy-found", 0, 1),
        ("sts", 5, 2),
    ]


def test_the_mail_is_a_report_with_the_file_in_it() -> None:
    """Fields and names of RFC 8460 §5.3 and §5.1."""
    report = compose_report(FRAME, "a.test", ROWS)
    raw = report_mail(
        FRAME, "a.test", report, "tls@a.test", dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
    )
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "tlsrpt"
    assert mail["TLS-Report-Domain"] == "a.test"
    assert mail["Subject"].startswith("Report Domain: a.test Submitter: shop.example Report-ID: <")
    (attached,) = mail.iter_attachments()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == report_file_name(FRAME, "a.test")
    assert attached.get_filename() == "shop.example!a.test!1795651200!1795737599.json.gz"
    assert attached.get_content() == report


def test_counts_of_all_senders_are_added_up(tmp_path: Path) -> None:
    """And a line that a crash cut off is left out."""
    now = int(FRAME.start.timestamp() * 1000) + 5
    for holder in ("w0", "w1"):
        file = TlsCountFile(tmp_path, holder, lambda: now)
        file.add(GOOD)
        file.add(GOOD)
        file.flush()
    with (tmp_path / "2026-11-26.w1.jsonl").open("ab") as opened:
        opened.write(b'[["a.test","st')
    assert read_counts(tmp_path, FRAME.day) == [(GOOD, 4)]
    assert read_counts(tmp_path, dt.date(2026, 11, 25)) == []


def test_counting_is_bounded() -> None:
    """Hostile domains don't fill the memory."""
    counts = TlsCounts()
    for number in range(50_010):
        counts.add(SessionRow(f"d{number}.test", "no-policy-found"))
    assert counts.dropped == 10
    assert len(counts.take()) == 50_000
