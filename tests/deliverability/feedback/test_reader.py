"""What the reader makes of each kind of mail."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from deliverability.feedback.reader import read, read_file
from deliverability.feedback.reading import ComplaintReport, DmarcReport, RecipientReport, TlsReport
from tests.deliverability.feedback.invented import EXIM, MAILS, QMAIL, bounce, dsn

DMARC = (
    b'<?xml version="1.0"?><feedback><report_metadata><org_name>Big Mail</org_name><report_id>r1</report_id>'
    b"<date_range><begin>10</begin><end>20</end></date_range></report_metadata><policy_published><domain>shop.test"
    b"</domain><p>reject</p></policy_published>"
    b"<record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated><dkim>PASS</dkim><spf>fail</spf>"
    b"</policy_evaluated></row></record>"
    b"<record><row><source_ip>192.0.2.2</source_ip><count>2</count><policy_evaluated><dkim>fail</dkim><spf>fail</spf>"
    b"</policy_evaluated></row></record></feedback>"
)
TLS = (
    b'{"organization-name":"Big Mail","report-id":"t1","date-range":{"start-datetime":"a","end-datetime":"b"},'
    b'"policies":[{"policy":{"policy-type":"sts","policy-domain":"shop.test"},"summary":'
    b'{"total-successful-session-count":5,"total-failure-session-count":1}}]}'
)
ARF = (
    b"From: fbl@provider.test\nTo: abuse@shop.test\nSubject: FW: Offers\nMIME-Version: 1.0\n"
    b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
    b"--b\nContent-Type: text/plain\n\nThis is an abuse report.\n"
    b"--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nSource-IP: 192.0.2.5\n"
    b"Original-Rcpt-To: <ann@example.org>\nReported-Domain: shop.test\n"
    b"--b\nContent-Type: message/rfc822\n\nFrom: news@shop.test\nMessage-ID: <m1@shop.test>\n\nhello\n--b--\n"
)


@pytest.mark.parametrize("name", MAILS)
def test_invented_mails_are_read_as_their_writer_meant_them(name: str) -> None:
    mail, kind, wanted = MAILS[name]
    reading = read(mail)
    got = [
        (r.recipient, str(r.cause), r.status, r.reply_code)
        for r in reading.reports
        if isinstance(r, RecipientReport)
    ]
    assert (reading.kind, got) == (kind, wanted)


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
@pytest.mark.parametrize("name", MAILS)
def test_newlines_make_no_difference(name: str, newline: bytes) -> None:
    mail = MAILS[name][0]
    assert read(mail.replace(b"\n", newline)) == read(mail)


def only(mail: bytes) -> RecipientReport:
    reading = read(mail)
    (report,) = reading.reports
    assert isinstance(report, RecipientReport)
    return report


@pytest.mark.parametrize(
    "fields",
    [
        "Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.2.2\n",
        "Final-Recipient: <ann@example.org>\nAction: Failed (permanently)\nStatus: 5.2.2 (mailbox full)\n",
        "Action : failed\nStatus : 5.2.2\nOriginal-Recipient : rfc/822;ann@example.org\n",
        "Final-Recipient: RFC822; ann@example.org\n\nAction: failed\n\nStatus: 5.2.2\n",
        "Final-Recipient: rfc822;ann@store7\nOriginal-Recipient: rfc822;ann@example.org\nAction: failed\nStatus: 522\n",
        (
            "Final-Recipient: rfc822;a.n@s7.example.org\nOriginal-Recipient: rfc822;ann@example.org\n"
            "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 552 5.2.2 over\nquota\n"
        ),
    ],
)
def test_violations_of_rfc_3464_are_forgiven(fields: str) -> None:
    report = only(dsn(fields))
    assert (
        report.recipient, report.action, report.status, report.cause,
    ) == ("ann@example.org", "failed", "5.2.2", "mailbox-full")  # fmt: skip


def test_recipients_without_a_blank_line_between_them_are_told_apart() -> None:
    mail = dsn(
        "Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n"
        "Final-Recipient: rfc822; bob@example.org\nAction: delayed\nStatus: 4.2.2\n"
    )
    reading = read(mail)
    got = [(r.recipient, r.action) for r in reading.reports if isinstance(r, RecipientReport)]
    assert got == [("ann@example.org", "failed"), ("bob@example.org", "delayed")]
    assert reading.kind == "bounce"


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "deliverable"])
def test_a_success_is_no_bounce(action: str) -> None:
    report = only(
        dsn(f"Final-Recipient: rfc822; ann@example.org\nAction: {action}\nStatus: 2.1.5\n")
    )
    assert (report.cause, report.permanent) == ("delivered", False)


def test_expiry_without_refusal_counts_as_delayed_and_says_what_was_reported() -> None:
    mail = dsn("Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 4.4.7\n")
    report = only(mail)
    assert (report.action, report.reported_action, report.permanent) == ("delayed", "failed", False)
    assert read(mail).kind == "bounce"


def test_a_forward_keeps_the_address_that_failed_and_says_what_it_was_sent_to() -> None:
    report = only(
        dsn(
            "Final-Recipient: rfc822; x@elsewhere.net\nOriginal-Recipient: rfc822; ann@example.org\nAction: failed\n"
        )
    )
    assert (report.recipient, report.sent_to) == ("x@elsewhere.net", "ann@example.org")


def test_a_valid_reverse_path_goes_before_what_the_mail_says() -> None:
    reading = read(QMAIL, resolve_reverse_path={"news@shop.test": "true@example.org"}.get)
    (report,) = reading.reports
    assert isinstance(report, RecipientReport)
    assert (reading.reverse_path, report.sent_to) == ("true@example.org", "true@example.org")
    assert read(QMAIL).reverse_path == ""


def test_evidence_names_rule_and_words() -> None:
    report = only(QMAIL)
    assert report.evidence.rule.startswith("mailbox.unknown")
    assert "unknown user" in report.evidence.line
    assert 0 < report.evidence.confidence <= 1


def test_a_bounce_in_a_bounce_is_read_inside() -> None:
    inner = dsn(
        "Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n"
    ).decode()
    outer = bounce(
        f"The message returned below could not be delivered.\n\n----------------\n{inner}"
    )
    assert only(outer).recipient == "ann@example.org"


def test_feedback_reports_give_type_recipient_address_and_domain() -> None:
    reading = read(ARF)
    (report,) = reading.reports
    assert isinstance(report, ComplaintReport)
    assert reading.kind == "complaint"
    assert (
        report.feedback_type, report.recipient, report.source_ip, report.reported_domain, report.message_id,
    ) == ("abuse", "ann@example.org", "192.0.2.5", "shop.test", "m1@shop.test")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "want"),
    [("auth-failure", "auth-failure"), ("opt-out", "opt-out"), ("fraud", "complaint")],
)
def test_feedback_types_make_kinds(kind: str, want: str) -> None:
    assert (
        read(ARF.replace(b"Feedback-Type: abuse", f"Feedback-Type: {kind}".encode())).kind == want
    )


def test_a_jmrp_complaint_names_the_recipient_of_its_header() -> None:
    mail = (
        b"From: staff@provider.test\nTo: abuse@shop.test\nSubject: complaint about message from 192.0.2.5\n"
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        b"X-HmXmrOriginalRecipient: ann@example.org\nFrom: news@shop.test\n\nhello\n--b--\n"
    )
    (report,) = read(mail).reports
    assert isinstance(report, ComplaintReport)
    assert (report.recipient, report.source_ip) == ("ann@example.org", "192.0.2.5")


def test_an_unsubscribe_mail_is_an_opt_out() -> None:
    reading = read(b"From: ann@example.org\nTo: leave@shop.test\nSubject: unsubscribe\n\n")
    assert reading.kind == "opt-out"


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.xml", data)
    return buffer.getvalue()


def mailed(data: bytes, kind: str) -> bytes:
    import base64

    head = f"From: noreply@big.test\nTo: rua@shop.test\nSubject: Report domain: shop.test\nContent-Type: {kind}\n"
    return f"{head}Content-Transfer-Encoding: base64\n\n".encode() + base64.encodebytes(data)


@pytest.mark.parametrize(
    "data",
    [
        DMARC,
        b"\xef\xbb\xbf" + DMARC,
        DMARC.decode().encode("utf-16"),
        gzip.compress(DMARC),
        zipped(DMARC),
        mailed(zipped(DMARC), "application/zip"),
        mailed(gzip.compress(DMARC), "application/gzip"),
        DMARC.replace(b"<feedback>", b'<ns0:feedback xmlns:ns0="urn:x">').replace(
            b"</feedback>", b"</ns0:feedback>"
        ),
        DMARC.removesuffix(b"</feedback>"),
    ],
)
def test_aggregate_reports_are_counted_in_every_wrapper(data: bytes) -> None:
    reading = read_file(data)
    (report,) = reading.reports
    assert isinstance(report, DmarcReport)
    assert (
        report.org_name, report.report_id, report.domain, report.messages,
        report.dkim_aligned, report.spf_aligned, report.dmarc_pass, report.policy,
    ) == ("Big Mail", "r1", "shop.test", 5, 3, 0, 3, "reject")  # fmt: skip


@pytest.mark.parametrize(
    "data", [TLS, gzip.compress(TLS), mailed(gzip.compress(TLS), "application/tlsrpt+gzip")]
)
def test_tls_reports_are_counted(data: bytes) -> None:
    (report,) = read_file(data).reports
    assert isinstance(report, TlsReport)
    assert [(p.domain, p.success, p.failure) for p in report.policies] == [("shop.test", 5, 1)]


def test_an_mbox_is_read_mail_by_mail() -> None:
    mbox = (
        b"From a@b.test Mon Jan 1 00:00:00 2024\n"
        + ARF
        + b"\nFrom a@b.test Mon Jan 1 00:00:00 2024\n"
        + ARF
    )
    assert len(read_file(mbox).reports) == 2


def test_several_recipients_of_one_prose_bounce_keep_their_own_words() -> None:
    causes = [r.cause for r in read(EXIM).reports if isinstance(r, RecipientReport)]
    assert causes == ["mailbox-unknown", "domain-unknown"]
