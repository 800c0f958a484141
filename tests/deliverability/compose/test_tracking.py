"""Links and pixel: signed, carrying their target, and left out wherever somebody doesn't want them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.compose.template import Profile, Template, Tracking
from deliverability.tokens import CLICK, OPEN, KeyRing, Token, read, tenant_tag
from tests.deliverability.compose.letters import ID, NOW, compose, parts, reference, template

RING = KeyRing(1, {1: b"k" * 32})
PROFILE = Profile(keys=RING, tracking=Tracking("go.sender.example"))
VALUES = {
    "url": "https://s.example/?a=1&b=Zoë",
    "id": "7&8",
    "items": [{"u": "https://x.example/1"}, {"u": "ftp://y"}],
}


def _html(source: str, **changes: object) -> str:
    fields: dict[str, object] = {"stream": "marketing", "variables": VALUES, "profile": PROFILE}
    profile = (fields | changes).pop("profile")
    assert isinstance(profile, Profile)
    letter = {k: v for k, v in (fields | changes).items() if k != "profile"}
    return parts(compose(template(source), profile, **letter))["text/html"]


def _targets(html: str) -> list[str]:
    found = []
    for text in re.findall(r'"https://go\.sender\.example/c/([\w-]+)"', html):
        token = read(text, CLICK, RING, NOW)
        assert isinstance(token, Token)
        assert (tenant_tag("acme"), bytes.fromhex(ID)) == (token.tenant, token.message_id)
        found.append(f"{int.from_bytes(token.data[:2])} {token.data[2:].decode()}")
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('<a href="https://a.example/?x=1&amp;y=2">a</a>', ["0 https://a.example/?x=1&y=2"]),
        (
            "<A class=b HREF='http://a.example/'>a</A>",
            [],
        ),  # its quotes aren't those the pattern looks for
        ('<a href="{{ url }}">a</a>', ["0 https://s.example/?a=1&b=Zoë"]),
        (
            '<a href="https://a.example/{{ id }}?q={{ id|urlencode }}">a</a>',
            ["0 https://a.example/7&8?q=7%268"],
        ),
        (
            '{% for i in items %}<a href="{{ i.u }}">a</a>{% endfor %}<a href="https://b.example">b</a>',
            ["0 https://x.example/1", "1 https://b.example"],
        ),
        (
            '{% macro m(u) %}<a href="{{ u }}">a</a>{% endmacro %}{{ m(url) }}',
            ["0 https://s.example/?a=1&b=Zoë"],
        ),
        (
            '<a href="{% if id %}https://a.example{% else %}https://b.example{% endif %}">a</a>',
            ["0 https://a.example"],
        ),
        ('<map><area href="https://a.example"></map>', ["0 https://a.example"]),
    ],
)
def test_links_carry_their_target(source: str, expected: list[str]) -> None:
    """Constant links, links with holes, in loops and macros; numbered in the order of the source."""
    assert expected == _targets(_html(source))


def test_single_quotes_too() -> None:
    """The quotes of the author stay."""
    html = _html("<A class=b HREF='http://a.example/'>a</A>")
    found = re.search(r"HREF='https://go\.sender\.example/c/([\w-]+)'", html)
    assert found
    token = read(found[1], CLICK, RING, NOW)
    assert isinstance(token, Token)
    assert token.data == b"\0\0http://a.example/"


@pytest.mark.parametrize(
    "link",
    [
        *(
            'href="mailto:a@b.example"',
            'href="#top"',
            'href="tel:1"',
            'name="x"',
            'href="/relative"',
        ),
        *(
            'href="https://a.example" data-track="no"',
            'href="{{ unsubscribe_url }}"',
            'href="{{ items[1].u }}"',
        ),
    ],
)
def test_left_alone(link: str) -> None:
    """What isn't the web, has opted out, or is the way out of the list."""
    html = _html(f"<a {link}>a</a>", unsubscribe_url="https://u.example/1")
    assert "/c/" not in html
    expected = reference(
        f"<a {link}>a</a>", "x.html", unsubscribe_url="https://u.example/1", **VALUES
    )
    assert html.replace("&#x2f;", "/").startswith(expected.replace("&#x2f;", "/"))


def test_pixel() -> None:
    """It stands before the body's end, with a token of its own purpose."""
    html = _html("<body>x</body></html>")
    found = re.search(r'x<img src="https://go\.sender\.example/o/([\w-]{48})" [^>]*></body>', html)
    assert found
    assert isinstance(read(found[1], OPEN, RING, NOW), Token)


SOURCE = '<body><a href="https://a.example">a</a></body>'


@pytest.mark.parametrize(
    "changes",
    [
        {"track": False},
        {"stream": "transactional"},
        {"profile": Profile()},
        {"profile": Profile(keys=RING)},
    ],
)
def test_off(changes: dict[str, object]) -> None:
    """Without consent, in other streams, and without a tracking domain, the HTML is the author's."""
    assert _html(SOURCE, **changes) == SOURCE


@pytest.mark.parametrize(("clicks", "opens"), [(True, False), (False, True), (False, False)])
def test_flags_of_the_template(*, clicks: bool, opens: bool) -> None:
    """Each of the two can be switched off by the template."""
    made = Template("t", "s", SOURCE, "a@b.example", track_clicks=clicks, track_opens=opens)
    html = parts(compose(made, PROFILE, stream="marketing"))["text/html"]
    assert clicks == ("/c/" in html)
    assert opens == ("/o/" in html)


def test_text_is_left_alone() -> None:
    """The text part shows where a link leads."""
    composed = compose(template(SOURCE), PROFILE, stream="marketing")
    assert parts(composed)["text/plain"] == "a (https://a.example)"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_a_value_can_not_break_out(value: str) -> None:
    """Whatever the address, the attribute ends where it should."""
    html = _html('<a href="{{ url }}">label</a>', variables={"url": value})
    assert re.fullmatch(r'<a href="[^"<>]*">label</a><img [^<>]*>', html, re.DOTALL)


def test_very_long_targets_go_as_they_are() -> None:
    """A token has a bound; a link beyond it works untracked."""
    url = "https://a.example/" + "x" * 5000
    assert f'href="{url}"' in _html('<a href="{{ url }}">l</a>', variables={"url": url})
