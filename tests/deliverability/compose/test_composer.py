"""The composer, piece by piece: fields, variables, mistakes told with their place."""

from __future__ import annotations

import msgspec
import pytest

from deliverability.compose.composer import Skeleton, compile_template
from deliverability.compose.template import (
    ExtraHeader,
    Letter,
    Profile,
    Template,
    Tracking,
    Variable,
)
from deliverability.tokens import UNSUBSCRIBE, KeyRing, Token, read
from engine.errors import InputError
from tests.deliverability.compose.letters import ID, NOW, compose, letter, parse, parts, template

RING = KeyRing(1, {1: b"k" * 32})


def test_the_fields_of_a_marketing_letter() -> None:
    """All of them, in order, as they go out."""
    made = Template(
        "t",
        "Hi {{ name }}",
        "<p>x",
        "News@Sender.example",
        from_name="Sender",
        reply_to="ask@sender.example",
    )
    composed = compose(
        made,
        Profile(message_id_domain="id.sender.example", feedback_sender="acmecorp"),
        display_name="Ann",
        variables={"name": "Ann"},
        stream="marketing",
        campaign="spring & sale",
        unsubscribe_url="https://sender.example/u/1",
        unsubscribe_mailto="mailto:u@sender.example?subject=1",
        reverse_path="v-x@bounce.example",
    )
    assert composed.headers.decode().split("\r\n") == [
        "From: Sender <News@sender.example>",
        "To: Ann <ann@receiver.example>",
        "Subject: Hi Ann",
        "Date: Tue, 14 Nov 2023 22:13:20 +0000",
        f"Message-ID: <{ID}@id.sender.example>",
        "MIME-Version: 1.0",
        "Content-Type: multipart/alternative;",
        f' boundary="{parse(composed).get_boundary()}"',
        "Reply-To: <ask@sender.example>",
        "Feedback-ID: spring-sale:acme:marketing:acmecorp",
        "List-Unsubscribe: <https://sender.example/u/1>,",
        " <mailto:u@sender.example?subject=1>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "",
    ]
    assert (
        composed.recipient,
        composed.reverse_path,
    ) == ("ann@receiver.example", "v-x@bounce.example")


def test_the_event_of_a_journey_is_carried_once_and_found_under_both_names() -> None:
    """`journey.event` is `event`; one of the journey's own, as in messages of old, stays."""
    made = template("<p>{{ journey.event.number }}, {{ event.number }}, {{ journey.step }}</p>")
    variables = {"event": {"number": 7}, "journey": {"step": "hello"}}
    composed = compose(made, variables=variables)
    assert b"7, 7, hello</p>" in composed.body
    own = {"event": {"number": 7}, "journey": {"step": "hello", "event": {"number": 8}}}
    assert b"8, 7, hello</p>" in compose(made, variables=own).body


def test_transactional_has_no_list_unsubscribe() -> None:
    """The addresses are still there for the body."""
    made = template("<a href='{{ unsubscribe_url }}'>off</a>")
    composed = compose(made, unsubscribe_url="https://sender.example/u?a&b")
    assert "list-unsubscribe" not in composed.fields
    assert "u?a&amp;b" in parts(composed)["text/html"]


def test_one_click_needs_https() -> None:
    """RFC 8058 §3.1."""
    composed = compose(template("x"), stream="marketing", unsubscribe_url="http://sender.example/u")
    assert composed.fields.endswith(":list-unsubscribe")


def test_unsubscribe_addresses_are_made_and_signed() -> None:
    """By the profile, when the letter brings none; the token names the message."""
    profile = Profile(
        keys=RING, unsubscribe_url="https://go.example/u/", unsubscribe_mailto="u@go.example"
    )
    composed = compose(template("{{ unsubscribe_url }}"), profile, stream="marketing")
    field = str(parse(composed)["List-Unsubscribe"]).replace(" ", "")
    url, _, mailto = field.strip("<>").partition(">,<")
    for text in (
        url.removeprefix("https://go.example/u/"),
        mailto.removeprefix("mailto:u@go.example?subject="),
    ):
        token = read(text, UNSUBSCRIBE, RING, NOW)
        assert isinstance(token, Token)
        assert bytes.fromhex(ID) == token.message_id
    assert url in parts(composed)["text/plain"]


@pytest.mark.parametrize(
    "changes",
    [
        {"unsubscribe_url": "https://a.example/>\r\nBcc: x"},
        {"unsubscribe_url": "javascript:1"},
        {"unsubscribe_url": "https://a.example/é"},
        {"unsubscribe_mailto": "a@b.example"},
        {"recipient": "a@b.example\r\nBcc: c@d.example"},
        {"message_id_hex": "00>\r\nX: y"},
        {"message_id_hex": ID.upper()},
    ],
)
def test_bad_letters_are_refused(changes: dict[str, object]) -> None:
    """Each names its field."""
    with pytest.raises(InputError, match=rf"^{next(iter(changes))}: "):
        compose(template("x"), None, **({"stream": "marketing"} | changes))


def test_a_recipient_that_needs_smtputf8() -> None:
    """RFC 6532 §3.2: the field holds UTF-8; the flag says that the server must take it."""
    composed = compose(template("x"), recipient="zoë@bücher.example", display_name="Zoë")
    assert composed.smtputf8
    assert "<zoë@xn--bcher-kva.example>\r\n".encode() in composed.headers
    own = Template("t", "s", "x", "zoë@sender.example")
    assert compose(own).smtputf8
    assert not compose(template("x")).smtputf8


def test_declared_variables() -> None:
    """A fallback serves where a value is missing or null; without one the letter is refused."""
    made = Template(
        "t@1",
        "s",
        "{{ name }} {{ city }}",
        "a@b.example",
        variables=(Variable("name", "friend"), Variable("city")),
    )
    assert parts(compose(made, variables={"city": "Rome"}))["text/html"] == "friend Rome"
    assert (
        parts(compose(made, variables={"city": "Rome", "name": None}))["text/html"] == "friend Rome"
    )
    with pytest.raises(InputError, match=r"^t@1: the variable 'city' is missing"):
        compose(made, variables={"name": "Ann"})


def test_undeclared_variables_are_found_when_compiled() -> None:
    """A typing error doesn't wait for the first recipient."""
    made = Template("t@1", "s", "{{ nmae }}", "a@b.example", variables=(Variable("name"),))
    with pytest.raises(InputError, match=r"^t@1: html: uses 'nmae', which isn't declared"):
        compile_template(made, Profile())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"html": "a\n  {% if %}"}, r"^t@1:2:9: html: "),
        ({"html": "x", "text": "{{ a"}, r"^t@1:1:\d+: text: "),
        ({"subject": "{{ }}"}, r"^t@1:1:\d+: subject: "),
        ({"html": "{% include 'x' %}"}, r"^t@1:1:\d+: html: .*include"),
        ({"html": "{% block x %}{% endblock %}"}, r"^t@1:1:\d+: html: .*block"),
        ({"html": "{{ _veredus.l }}"}, r"^t@1: html: the name _veredus"),
        ({"from_address": "x"}, "^from_address: "),
        ({"reply_to": "x"}, "^reply_to: "),
        ({"headers": (ExtraHeader("Bcc", "x"),)}, r"^t@1: headers\.Bcc: "),
        ({"headers": (ExtraHeader("X-A", "x"), ExtraHeader("x-a", "y"))}, r"^t@1: headers\.x-a: "),
        ({"headers": (ExtraHeader("X\r\nBcc", "x"),)}, "isn't the name of a header field"),
        ({"headers": (ExtraHeader("X-A", "{{ b"),)}, r"^t@1:1:\d+: headers\.X-A: "),
    ],
)
def test_mistakes_of_a_template(fields: dict[str, object], message: str) -> None:
    """File, line, column and part."""
    made = msgspec.structs.replace(Template("t@1", "s", "h", "a@b.example"), **fields)
    with pytest.raises(InputError, match=message):
        Skeleton(made, Profile())


def test_mistakes_of_a_letter_name_the_line() -> None:
    """The line is that of what the author wrote, not of the skeleton."""
    made = template("<p>a long static stretch of text, long enough</p>\n\n{{ user.name }}")
    with pytest.raises(InputError, match=r"^letter@1:3:4: html: .*user"):
        compose(made)
    with pytest.raises(InputError, match=r"^letter@1:3:4: html: .*user\.name"):
        compose(made, variables={"user": {}})


def test_endless_work_is_stopped() -> None:
    """Instructions are bounded."""
    loop = "{% for i in range(9999) %}" * 3 + "{% endfor %}" * 3
    with pytest.raises(InputError, match=r"^letter@1: html: takes more than \d+ steps"):
        compose(template(loop, text="x"))


def test_a_literal_with_marks_is_refused_or_harmless() -> None:
    """An author who writes the skeleton's marks gets an error, or at worst his own text."""
    source = "a static stretch that is long enough{{ x }}" + '{{ "\\u001e\\n99\\u001e\\n" }}'
    with pytest.raises(InputError, match="control characters"):
        compose(template(source, text="t"), variables={"x": 1})
    with pytest.raises(InputError, match="control characters"):
        Skeleton(Template("t", '{{ "\\u001f" }}', "x", "a@b.example"), Profile()).compose(letter())


def test_headers_are_bounded() -> None:
    """Hostile lengths are refused before anything is encoded."""
    with pytest.raises(InputError, match="more than 10000 characters"):
        compose(template("x"), display_name="x" * 20_000)


def test_empty_subject_and_names() -> None:
    """Empty values are fields all the same, and own fields that are empty are left out."""
    made = Template(
        "t",
        "{{ s }}",
        "x",
        "a@b.example",
        from_name="{{ s }}",
        headers=(ExtraHeader("X-A", "{{ s }}"),),
    )
    composed = compose(made, variables={"s": " \r\n "})
    assert b"Subject: \r\n" in composed.headers
    assert "x-a" not in composed.fields
    assert b"From: <a@b.example>\r\n" in composed.headers


def test_the_profile_is_checked() -> None:
    """Its addresses too."""
    for profile, place in (
        (Profile(message_id_domain="a b"), "message_id_domain"),
        (Profile(unsubscribe_url="go.example", keys=RING), r"profile\.unsubscribe_url"),
        (Profile(unsubscribe_mailto="x", keys=RING), r"profile\.unsubscribe_mailto"),
        (Profile(unsubscribe_mailto="u@go.example"), r"profile\.keys"),
        (Profile(tracking=Tracking("go.example")), r"profile\.keys"),
        (Profile(tracking=Tracking("a b"), keys=RING), r"profile\.tracking\.domain"),
        (Profile(tracking=Tracking("go.example:x"), keys=RING), r"profile\.tracking\.domain"),
    ):
        with pytest.raises(InputError, match=place):
            Skeleton(template("x"), profile)


def test_text_alone() -> None:
    """Without HTML: one part, its encoding in the headers."""
    made = Template("t", "s", "", "a@b.example", text="Hello {{ n }}\n\n\n")
    composed = compose(made, variables={"n": "Zoë"})
    assert parts(composed)["text/plain"] == "Hello Zoë\n"
    assert composed.body == b"Hello Zo=C3=AB\r\n"
    assert ":content-type:content-transfer-encoding" in composed.fields


def test_a_letter_of_msgpack_types() -> None:
    """Variables as msgspec decodes them."""
    assert Letter(ID, "acme", "a@b.example", NOW).variables == {}


def test_a_template_can_not_change_its_letter() -> None:
    """Methods that change a list change a copy."""
    skeleton = Skeleton(template("{{ x.pop() }}", text="{{ x|length }}"), Profile())
    same = letter(variables={"x": [1, 2]})
    assert skeleton.compose(same) == skeleton.compose(same)
    assert same.variables == {"x": [1, 2]}


def test_no_address_in_memory_is_printed() -> None:
    """It would differ from process to process."""
    with pytest.raises(InputError, match=r"^letter@1: prints a method"):
        compose(template("{{ x.items }}"), variables={"x": {}})
    with pytest.raises(InputError, match="debug"):
        compose(template("{{ debug() }}"))
