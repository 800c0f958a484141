"""Mails taken apart for people."""

from __future__ import annotations

from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.twin.reading import FIELDS_MAX, PARTS_MAX, read, summarize


def octets(message: EmailMessage) -> bytes:
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


def letter() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Zażółć gęślą jaźń — " + "and a long tail " * 6
    message["From"] = "Björn Ångström <b@s.example>"
    message.set_content("text ž")
    message.add_alternative("<p>html ž <img src='cid:pic@s'></p>", subtype="html")
    return message


def test_parts_and_header() -> None:
    """HTML, text, decoded header fields and a list of parts come out of an ordinary mail."""
    message = letter()
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="März.pdf")
    found = read(octets(message))
    assert found.text == "text ž\r\n" or found.text == "text ž\n"
    assert found.html is not None
    assert "html ž" in found.html
    assert [part.content_type for part in found.parts] == [
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    assert (found.parts[2].file_name, found.parts[2].inline) == ("März.pdf", False)
    assert dict(found.fields)["Subject"].startswith("Zażółć gęślą jaźń — and a long tail")
    assert found.left_out == ()
    summary = summarize(octets(message))
    assert summary.sender == "Björn Ångström <b@s.example>"
    assert summary.subject == dict(found.fields)["Subject"]


def test_pictures_of_the_mail_itself_are_put_in() -> None:
    """A `cid:` address becomes the picture that the mail brings; a foreign one stays as it is."""
    message = letter()
    html = list(message.iter_parts())[1]
    assert isinstance(html, EmailMessage)
    html.add_related(b"\x89PNG", maintype="image", subtype="png", cid="<pic@s>")
    found = read(octets(message))
    assert found.html is not None
    assert "data:image/png;base64,iVBORw==" in found.html
    assert "cid:" not in found.html


def test_html_of_an_attachment_is_not_shown() -> None:
    """An attached page is an attachment, not the mail."""
    message = EmailMessage()
    message.set_content("text")
    message.add_attachment("<p>x</p>", subtype="html", filename="page.html")
    assert read(octets(message)).html is None


def test_disguises_are_undone() -> None:
    """Control and direction characters in a header field can't make it look like another."""
    summary = summarize(
        b"Subject: =?utf-8?q?gpj=2E=E2=80=AEexe?=\x07\r\nFrom: \xff\xfe<a@b>\r\n\r\n"
    )
    assert "\u202e" not in summary.subject
    assert summary.subject == "gpj.\N{REPLACEMENT CHARACTER}exe\N{REPLACEMENT CHARACTER}"
    assert summary.sender.endswith("<a@b>")


def test_bounds() -> None:
    """Too many fields, parts or levels are left out and named, without an exception."""
    many = b"".join(b"X-%d: y\r\n" % n for n in range(FIELDS_MAX + 5)) + b"\r\nbody"
    assert len(read(many).fields) == FIELDS_MAX
    assert read(many).left_out
    parts = b"--b\r\n\r\nx\r\n" * (PARTS_MAX + 5)
    wide = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + parts + b"--b--\r\n"
    found = read(wide)
    assert len(found.parts) == PARTS_MAX - 1
    assert found.left_out
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
        for n in range(3000)
    )
    assert read(deep).html is None


def test_bogus_charset_and_encoding() -> None:
    """What can't be decoded as it says is shown as well as it can be."""
    found = read(
        b"Content-Type: text/html; charset=rot13\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!"
    )
    assert found.html is not None
    for charset in (b"idna", b"no-such", b'"', b"utf-7", b"hex"):
        mail = b"Content-Type: text/plain; charset=%s\r\n\r\nh\xc3\xa9 \xff +AGE\r\n" % charset
        assert read(mail).text


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_anything_can_be_read(mail: bytes) -> None:
    """Whatever the octets, reading and summarizing answer."""
    for whole in (
        mail,
        b"Content-Type: multipart/mixed; boundary=a\r\n" + mail,
        b"Subject: " + mail,
    ):
        read(whole)
        summarize(whole)
