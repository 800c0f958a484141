"""Checks of a message: form, one-click, links, parts, names; and that nothing hostile breaks them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.dns.asking import Answer, Question, run
from deliverability.dns.zone import parse_zone
from deliverability.preflight.examine import examine
from deliverability.preflight.message import read_mail, wire_form
from deliverability.preflight.page import read_page
from deliverability.preflight.subject import EndpointAnswer
from tests.deliverability.preflight.mails import (
    HTML,
    NOW,
    URL,
    found,
    message,
    report_on,
    subject,
    zone,
)


def test_a_good_message_passes() -> None:
    """No block, no warning, every check of messages made."""
    report = report_on(subject(message()))
    assert [(one.check, one.found) for one in report.findings if one.verdict != "pass"] == []
    assert {"form", "one-click", "endpoint", "visible-link", "dkim-signature", "link-target"} <= {
        one.check for one in report.findings
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"Message-ID": None}, "there is no message-id"),
        ({"Message-ID": "1@shop.example"}, "Message-ID is"),
        ({"Date": None}, "there is no date"),
        ({"Date": "yesterday"}, "Date is"),
        ({"subject": "again"}, "subject stands 2 times"),
        ({"From": "a@shop.example, b@shop.example"}, "2 authors"),
        ({"Bad field name": "x"}, "not a field"),
        ({"Subject": "Grüße"}, "aren't ASCII"),
        ({"X-Long": "x" * 1000}, "a line of 1,008 octets"),
    ],
)
def test_form(fields: dict[str, str | None], said: str) -> None:
    """Row 7: each fault by name."""
    report = report_on(subject(message(fields)))
    assert any(said in one.found for one in found(report, "form")), found(report, "form")


def test_bare_line_ends_block_but_a_file_may_have_lf() -> None:
    """A file with LF alone is a file; one with both is a mistake."""
    raw = message()
    assert wire_form(raw.replace(b"\r\n", b"\n")) == raw
    mixed = raw.replace(b"Hello, news.\r\n", b"Hello,\nnews.\r\n")
    assert wire_form(mixed) == mixed
    assert any("bare" in one.found for one in found(report_on(subject(mixed)), "form"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"List-Unsubscribe": None}, "no List-Unsubscribe"),
        ({"List-Unsubscribe": "<mailto:u@shop.example>"}, "no HTTPS address"),
        ({"List-Unsubscribe": "https://shop.example/u"}, "no List-Unsubscribe with"),
        ({"List-Unsubscribe-Post": None}, "no List-Unsubscribe-Post"),
        ({"List-Unsubscribe-Post": "One-Click"}, "is 'One-Click'"),
    ],
)
def test_one_click(fields: dict[str, str | None], said: str) -> None:
    """Row 8 blocks marketing, and asks nothing of transactional mail."""
    raw = message(fields)
    (finding,) = found(report_on(subject(raw)), "one-click")
    assert (finding.verdict, said in finding.found) == ("block", True)
    assert not found(report_on(subject(raw, marketing=False)), "one-click")


def test_one_click_must_be_signed() -> None:
    """RFC 8058 §4: both fields in h= of a signature that verifies."""
    unsigned = report_on(subject(message(signed=False)))
    assert "no signature" in found(unsigned, "one-click")[0].found
    bare = message({"List-Unsubscribe": None, "List-Unsubscribe-Post": None})
    # signed without the fields and not oversigned: they are added behind the signer's back
    head, _, body = bare.partition(b"\r\n\r\n")
    fields = f"\r\nList-Unsubscribe: <{URL}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click"
    added = head + fields.encode() + b"\r\n\r\n" + body
    report = report_on(subject(added))
    assert "doesn't fit" in found(report, "dkim-signature")[0].found
    assert "no signature that verifies" in found(report, "one-click")[0].found


@pytest.mark.parametrize(
    ("answer", "verdict", "said"),
    [
        (EndpointAnswer(302, 50, "/login"), "block", "302 to /login"),
        (EndpointAnswer(401, 50), "block", "401"),
        (EndpointAnswer(405, 50), "block", "405"),
        (EndpointAnswer(0, 50, failure="refused"), "block", "no answer: refused"),
        (EndpointAnswer(200, 6_000), "warn", "6,000 ms"),
    ],
)
def test_endpoints(answer: EndpointAnswer, verdict: str, said: str) -> None:
    """Row 9; RFC 8058 §3.1."""
    report = report_on(subject(message(), endpoints={URL: answer}))
    (finding,) = found(report, "endpoint")
    assert (finding.verdict, said in finding.found) == (verdict, True)


def test_an_endpoint_that_was_not_asked_is_unchecked() -> None:
    """Nothing that wasn't looked at counts as passed."""
    report = report_on(subject(message(), endpoints={}))
    assert "endpoint" in {one.check for one in report.unchecked}


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        ("<a href='https://shop.example/x'>Abmelden</a>", True),
        ("<a href='https://shop.example/x'>Se désabonner</a>", True),
        (f"<a href='{URL}'><img src='https://shop.example/i' alt='bye'></a>", True),
        (f"<a href='{URL}' style='display: none'>Unsubscribe</a>", False),
        (f"<div style='font-size:0'><p><a href='{URL}'>Unsubscribe</a></p></div>", False),
        ("<a href='https://shop.example/x'>Read more</a>", False),
    ],
)
def test_the_visible_link(html: str, seen: bool) -> None:
    """Row 10: by word or target, if a reader can see it."""
    report = report_on(subject(message(html=html)))
    assert bool(found(report, "visible-link", "pass")) is seen


@pytest.mark.parametrize(
    ("link", "check", "verdict"),
    [
        (
            "<a href='https://evil.example/'>https://www.bank.example/login</a>",
            "link-target",
            "block",
        ),
        ("<a href='https://evil.example/'>bank.example</a>", "link-target", "block"),
        ("<a href='https://click.shop.example/'>www.shop.example</a>", "link-target", "pass"),
        ("<a href='http://shop.example/'>x</a>", "link-form", "warn"),
        ("<a href='https://nowhere.example/'>x</a>", "link-form", "block"),
        ("<a href='https://192.0.2.1/'>x</a>", "link-form", "block"),
        ("<a href='https://shop.example@192.0.2.1/'>x</a>", "link-form", "block"),
        ("<a href='javascript:alert(1)'>x</a>", "link-form", "block"),
        ("<a href='https://[broken/'>x</a>", "link-form", "block"),
        ("<a href='https://bit.ly/abc'>x</a>", "link-form", "warn"),
        ("<script>x</script>", "active-content", "warn"),
        ("<form action='https://shop.example/'></form>", "active-content", "warn"),
        ("<img src='data:image/png;base64,AAAA' alt='x'>", "weight", "warn"),
        ("<p>" + "x" * 110_000 + "</p>", "clipping", "warn"),
    ],
)
def test_content(link: str, check: str, verdict: str) -> None:
    """Links, active content, weight and size; each on top of a good message."""
    records = zone(
        '["click.shop.example"]\nA = "192.0.2.80"\n["evil.example"]\nA = "203.0.113.1"\n'
    )
    # long lines are another check's
    html = HTML.replace("</body>", f"{link}</body>").replace("x" * 100, "x" * 99 + "\n")
    report = report_on(subject(message(html=html)), records)
    assert verdict in [one.verdict for one in report.findings if one.check == check]


def test_links_of_others_alone_warn() -> None:
    """A shared tracking domain."""
    html = "<p>word</p><a href='https://esp.example/1'>Unsubscribe</a>"
    report = report_on(subject(message(html=html)), zone('["esp.example"]\nA = "203.0.113.1"'))
    assert found(report, "link-alignment")[0].verdict == "warn"


def test_images_alone_warn() -> None:
    """No text, no alternative texts."""
    report = report_on(subject(message(html="<img src='https://shop.example/all.png'>")))
    assert len(found(report, "weight")) == 2


@pytest.mark.parametrize(
    ("name", "content", "verdict"),
    [
        ("invoice.pdf", "JVBERi0xLjc=", "pass"),
        ("invoice.pdf.exe", "AAAA", "block"),
        ("invoice.pdf", "TVqQAAMAAAAEAAAA", "block"),  # a program by its first octets
        ("macro.docm", "AAAA", "warn"),
        ("=?utf-8?q?run=2Ejs?=", "AAAA", "block"),
        ("page.html", "AAAA", "warn"),
    ],
)
def test_attachments(name: str, content: str, verdict: str) -> None:
    """By name and by first octets."""
    part = (
        f'--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{content}\r\n"
    )
    report = report_on(subject(message(more=part)))
    assert [one.verdict for one in report.findings if one.check == "attachments"] == [verdict]


@pytest.mark.parametrize(
    ("author", "verdict"),
    [
        ("Shop News <news@shop.example>", "pass"),
        ('"help@bank.example" <news@shop.example>', "block"),
        ('"help@mail.shop.example" <news@shop.example>', "pass"),
        ("PayPal Support <news@shop.example>", "warn"),
        ("=?utf-8?b?UNCweXBhbA==?= <news@shop.example>", "block"),  # a Cyrillic a
        ("=?utf-8?b?4oCucG9oUw==?= <news@shop.example>", "block"),  # turned round
        ("=?utf-8?b?0JzQsNCz0LDQt9C40L0=?= <news@shop.example>", "pass"),
    ],
)
def test_display_names(author: str, verdict: str) -> None:
    """Addresses and brands of others, letters that look like others, invisible ones."""
    report = report_on(subject(message({"From": author})))
    verdicts = [one.verdict for one in report.findings if one.check == "display-name"]
    assert verdict in verdicts
    assert verdict != "pass" or verdicts == ["pass"]


def test_html_without_text_warns() -> None:
    """And an empty text part too."""
    raw = message().replace(b"Hello, news.", b" ")
    assert "empty" in found(report_on(subject(raw)), "text-part")[0].found


def test_reply_to_must_receive() -> None:
    """Row 15 asks for Reply-To as well as From."""
    report = report_on(subject(message({"Reply-To": "x@nowhere.example"})))
    assert [one.subject for one in found(report, "can-receive")] == ["nowhere.example"]


def test_forwarded_mail_carries_arc() -> None:
    """Row 20."""
    report = report_on(subject(message({"Resent-From": "x@shop.example"})))
    assert found(report, "arc")[0].verdict == "warn"


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_examined(noise: bytes, whole: bool) -> None:
    """A report, whatever the message is."""
    raw = noise if whole else message() + noise
    report = report_on(subject(raw or b"\r\n"))
    assert report.findings


@given(st.text(alphabet="<>a=\"'/ h:.\u202eéimgscrptyle;\n", max_size=400))
def test_any_html_is_read(html: str) -> None:
    """A page, whatever the HTML is."""
    page = read_page(html)
    assert page.text_length <= len(html)
    assert all(link.href for link in page.links)


def test_hostile_sizes_are_bounded() -> None:
    """Deep nesting, many links, long names: linear, and cut where it is shown."""
    deep = "<div>" * 50_000 + "<a href='https://shop.example/'>x</a>" * 5_000
    page = read_page(deep)
    assert len(page.links) == 2_000
    report = report_on(subject(message({"Feedback-ID": "x" * 50_000}, html="<p>x")))
    assert all(len(one.found) <= 400 for one in report.findings)


def test_many_links_ask_little() -> None:
    """A mail with thousands of links that lie doesn't make thousands of questions."""
    links = "".join(f"<a href='https://a{n}.example/'>b{n}.example</a>" for n in range(1_000))
    asked: list[str] = []
    zone_of = parse_zone(zone())

    def answer(question: Question) -> Answer:
        asked.append(question.name)
        return zone_of.answer(question)

    report = run(examine(subject(message(html=links)), NOW), answer)
    assert len(asked) < 400
    assert len(found(report, "link-target")) == 25


def test_a_mail_without_text_is_read() -> None:
    """Headers alone, a body alone, nothing."""
    assert read_mail(b"\r\nbody").fields == ()
    assert read_mail(b"").html is None
    assert read_mail(b"A: b").first("a") == "b"
