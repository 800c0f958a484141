"""Hostile input: any bytes give a reading, quickly and in bounded memory."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.feedback.limits import UNPACKED_BYTES
from deliverability.feedback.reader import read, read_file
from deliverability.feedback.reading import DmarcReport
from deliverability.feedback.unpack import unpack
from tests.deliverability.feedback.invented import MAILS

HEAD = b"From: MAILER-DAEMON@x.test\nTo: a@b.test\nSubject: Undelivered Mail\n"
SECONDS = 5.0  # of CPU, on a noisy machine; most take milliseconds

PIECES = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"\r",
        b"--b",
        b"--b--",
        b"From: a@b.test",
        b"Content-Type: multipart/report; boundary=b",
        b" ",
        b"\t",
        b":",
        b"Content-Type: message/delivery-status",
        b"Final-Recipient: rfc822; a@b.test",
        b"Action: failed",
        b"Status: 5.1.1",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: quoted-printable",
        b"=?utf-8?b?////?=",
        b"<a@b.test>:",
        b"550 5.1.1 User unknown",
        b"<feedback>",
        b"<record>",
        b"{",
        b'"policies":[',
        b"\x1f\x8b",
        b"PK\x03\x04",
        b"\xff\xfe",
        b"\x1b$B",
        b"Content-Type: message/feedback-report",
        b"Feedback-Type: abuse",
        b"charset=utf-7",
        b"charset=idna",
        b"Subject: Undelivered",
        b"From MAILER-DAEMON",
        b'{"notificationType":"Bounce"',
        b"&#x110000;",
        b"Content-Type: message/rfc822",
        b"\x00",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2_000))
def test_any_bytes_are_read(data: bytes) -> None:
    read_file(data)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=12)), max_size=60))
def test_any_pieces_of_mail_are_read(pieces: list[bytes]) -> None:
    read_file(b"".join(pieces))
    read_file(b"\n".join(pieces))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(MAILS)), st.data())
def test_damaged_mails_are_read(name: str, data: st.DataObject) -> None:
    mail = MAILS[name][0]
    cut = data.draw(st.integers(0, len(mail)))
    hole = data.draw(st.integers(0, len(mail)))
    read(mail[:cut])
    read(mail[:hole] + data.draw(st.binary(max_size=5)) + mail[hole + 3 :])


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.xml", b" " * 80_000_000)
    return buffer.getvalue()


ATTACKS: dict[str, Callable[[], bytes]] = {
    "a header of 50 MB": lambda: HEAD + b"X-A: " + b"a" * 50_000_000,
    "7 million fields": lambda: HEAD + b"X-A: b\n" * 7_000_000,
    "16 million folds": lambda: HEAD + b"X-A: b\n" + b" c\n" * 16_000_000,
    "lost folds": lambda: HEAD + b"zz\nX: y\n" * 1_000_000,
    "nested multiparts": lambda: (
        HEAD
        + b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2_000)
        )
    ),
    "one boundary, nested": lambda: (
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\n\n"
        + b"--b\nContent-Type: multipart/mixed; boundary=b\n\n" * 20_000
    ),
    "a million parts": lambda: (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 1_000_000
    ),
    "no boundary": lambda: (
        HEAD + b"Content-Type: multipart/mixed\n\n" + b"--aaaaaaaaaaaa\n" * 200_000
    ),
    "open tags": lambda: HEAD + b"Content-Type: text/html\n\n" + b"<a " * 300_000,
    "open scripts": lambda: HEAD + b"Content-Type: text/html\n\n" + b"<script>" * 100_000,
    "addresses": lambda: HEAD + b"\n" + b"a@b.test " * 200_000,
    "address lines": lambda: HEAD + b"\n" + b"<a@b.test>: foo\n" * 100_000,
    "half addresses": lambda: HEAD + b"\n" + (b"a." * 60 + b"@") * 20_000,
    "gaps": lambda: HEAD + b"\n<a@b.test>: 550 " + b"mailbox over " * 20_000,
    "encoded words": lambda: HEAD + b"Subject: " + b"=?utf-8?q?a" * 100_000 + b"\n\n",
    "recipients": lambda: (
        HEAD
        + b"Content-Type: message/delivery-status\n\n"
        + b"Final-Recipient: rfc822; a@b.test\nAction: failed\n\n" * 100_000
    ),
    "a gzip bomb": lambda: gzip.compress(b"\0" * 80_000_000, 1),
    "a zip bomb": zip_bomb,
    "comments in XML": lambda: b"<feedback>" + b"<!--" * 1_000_000,
    "deep XML": lambda: b"<feedback>" + b"<a>" * 300_000,
    "open XML": lambda: b"<feedback>" + b"<a " * 300_000,
    "deep JSON": lambda: b'{"policies":' + b"[" * 1_000_000,
    "an mbox": lambda: b"From a@b\nTo: x\nFrom: y\n\n" * 100_000,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_end_quickly(name: str) -> None:
    data = ATTACKS[name]()
    start = time.process_time()
    read_file(data)
    assert time.process_time() - start < SECONDS


def test_what_was_not_read_is_said() -> None:
    assert "HEADER_BYTES" in read(ATTACKS["a header of 50 MB"]()).limits
    assert "MIME_PARTS" in read(ATTACKS["a million parts"]()).limits


def test_a_bomb_takes_bounded_memory() -> None:
    bomb = gzip.compress(b"\0" * 150_000_000, 1)
    tracemalloc.start()
    try:
        assert unpack(bomb) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * UNPACKED_BYTES


def test_xml_entities_are_not_expanded() -> None:
    data = (
        b'<!DOCTYPE l [<!ENTITY a "x"><!ENTITY b "'
        + b"&a;" * 100
        + b'"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
        b"<feedback><report_metadata><org_name>&b;&c;</org_name><report_id>1</report_id></report_metadata></feedback>"
    )
    (report,) = read(data).reports
    assert isinstance(report, DmarcReport)
    assert report.org_name == "&b;&c;"


@pytest.mark.parametrize(
    "data",
    [b"PK\x03\x04", b"PK\x03\x04" + b"\xff" * 40, b"\x1f\x8b\x08", b"\x1f\x8b" + b"\x00" * 20, b""],
)
def test_broken_archives_are_empty(data: bytes) -> None:
    assert [content for content in unpack(data) if content] == []
