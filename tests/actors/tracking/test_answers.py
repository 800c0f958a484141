"""What recipients meet: nothing happens by looking, everything is signed, and repeating tells nothing new."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Sequence

import msgspec
import pytest
from html5lib import HTMLParser
from hypothesis import given
from hypothesis import strategies as st

from actors.backend import ConsentView, ContactView, ItemResult, MessageView
from actors.tracking.agents import agent_kind, user_agent_kind
from actors.tracking.answers import Tracking
from actors.tracking.pages import Answer
from actors.tracking.words import ENGLISH, POLISH, words_for
from deliverability import tokens
from deliverability.leaving import Leaving, seal
from deliverability.returned import Reported, Returned
from engine.vocabulary import ConsentGiven
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.scenarios.proof.markup import Markup

NOW = 1_800_000_000_000
RING = tokens.KeyRing(0, {0: b"k" * 32})
MESSAGE = bytes(range(16))
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Asked(MemoryBackend):
    """Stands for the engine: knows one message of one contact, remembers what is told by id."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_returned = 0

    async def message(self, tenant: str, message_id: bytes) -> MessageView | None:
        """Know one message."""
        if (tenant, message_id) != ("default", MESSAGE):
            return None
        return MessageView(MESSAGE.hex(), "c1", "delivered", "marketing", "welcome", topic="news")

    async def contact(self, tenant: str, contact: str) -> ContactView | None:
        """Know its contact."""
        consents = {
            name: ConsentView(granted, 0, "")
            for name, granted in (("news", True), ("offers", False))
        }
        return ContactView(contact, attributes={"email": "a@x.example"}, consents=consents)

    async def returned(self, reports: Sequence[Reported]) -> list[ItemResult]:
        """Take reports about it."""
        self.calls_returned += 1
        return await super().returned(reports)

    @property
    def told(self) -> list[Returned]:
        return [one.returned for one in self.came_back]


def token(purpose: int, data: bytes = b"", message: bytes = MESSAGE) -> str:
    """Make a token as the composer does."""
    made = tokens.Token(
        purpose, tokens.tenant_tag("default"), message, tokens.last_day(NOW, 30), data
    )
    return tokens.make(made, RING)


def ask(
    asked: Asked,
    method: str,
    path: str,
    agent: str = BROWSER,
    body: bytes = b"List-Unsubscribe=One-Click",
    language: bytes = b"",
) -> Answer:
    """Ask once."""
    tracking = Tracking({"default": RING}, asked, lambda: NOW)
    headers = {b"user-agent": agent.encode(), b"accept-language": language}
    return asyncio.run(tracking.answer(method, path, body, headers))


def test_looking_at_the_unsubscribe_page_does_nothing() -> None:
    """Scanners follow links: GET shows a page with a form, and nobody is told."""
    asked = Asked()
    shown = ask(asked, "GET", "/u/" + token(tokens.UNSUBSCRIBE))
    assert (shown.status, asked.told) == (200, [])
    assert b'method="post"' in shown.body


def test_posting_unsubscribes_at_once_and_only_once() -> None:
    """RFC 8058: POST without cookies or redirects withdraws the consent; repeating it is harmless."""
    asked = Asked()
    path = "/u/" + token(tokens.UNSUBSCRIBE)
    assert [ask(asked, "POST", path).status for _ in range(2)] == [200, 200]
    (left,) = asked.told
    assert (left.kind, left.proof, left.topic) == ("unsubscribed", "one-click", "")


def test_what_could_not_be_taken_is_said() -> None:
    """A reader who unsubscribes must not be told that it is done when it isn't."""
    asked = Asked()
    asked.overloaded = True
    assert ask(asked, "POST", "/u/" + token(tokens.UNSUBSCRIBE)).status == 503


def test_a_click_redirects_to_the_signed_target_and_tells_the_contact() -> None:
    """The target stands in the token; nobody can make us redirect elsewhere."""
    asked = Asked()
    path = "/c/" + token(tokens.CLICK, b"\0\3https://shop.example/x")
    answer = ask(asked, "GET", path)
    assert answer.status == 302
    assert (b"location", b"https://shop.example/x") in answer.headers
    (told,) = asked.told
    assert (told.kind, told.data["link"], told.data["by"]) == ("clicked", 3, "person")


def test_a_click_gets_on_when_the_engine_is_full() -> None:
    """Readers don't pay for our overload."""
    asked = Asked()
    asked.overloaded = True
    assert (
        ask(asked, "GET", "/c/" + token(tokens.CLICK, b"\0\0https://shop.example/")).status == 302
    )


def test_a_pixel_is_always_given() -> None:
    """Valid or not, the image is the same."""
    asked = Asked()
    good = ask(asked, "GET", "/o/" + token(tokens.OPEN))
    bad = ask(Asked(), "GET", "/o/nonsense")
    assert (200, good.body) == (bad.status, bad.body)
    assert len(asked.told) == 1


@pytest.mark.parametrize("path", ["/u/x", "/p/x", "/c/x", "/c/" + "a" * 10_000])
def test_forged_tokens_lead_nowhere(path: str) -> None:
    """Whatever isn't signed by us is 404, without a hint."""
    assert ask(Asked(), "GET", path).status == 404


def test_a_token_of_one_purpose_is_of_no_other() -> None:
    """An open token doesn't unsubscribe."""
    asked = Asked()
    assert ask(asked, "POST", "/u/" + token(tokens.OPEN)).status == 404
    assert asked.told == []


@given(st.text(max_size=200))
def test_any_token_gets_an_answer(text: str) -> None:
    """No input raises."""
    for kind in "ucop":
        assert ask(Asked(), "GET", f"/{kind}/{text}").status in (200, 404)


def test_programs_are_told_from_people() -> None:
    """Scanners and proxies are flagged, not dropped."""
    assert user_agent_kind(BROWSER) == "person"
    assert user_agent_kind("Mozilla/5.0 (via ggpht.com GoogleImageProxy)") == "proxy"
    assert user_agent_kind("python-requests/2.32") == "scanner"
    assert user_agent_kind("") == "scanner"
    assert user_agent_kind("Mozilla/5.0") == "apple_privacy"
    fetched = {b"user-agent": BROWSER.encode(), b"sec-purpose": b"prefetch;anonymous-client-ip"}
    assert agent_kind("GET", fetched) == "prefetch"
    assert agent_kind("HEAD", {b"user-agent": BROWSER.encode()}) == "scanner"


def test_the_preference_centre_shows_and_does_nothing_by_itself() -> None:
    """GET shows the topics with what is granted; nobody is told, and no address is shown."""
    asked = Asked()
    shown = ask(asked, "GET", "/p/" + token(tokens.UNSUBSCRIBE))
    assert shown.status == 200
    assert b'value="news" checked' in shown.body
    assert b'value="offers">' in shown.body
    assert b"x.example" not in shown.body
    assert (asked.told, asked.arrivals) == ([], [])


def test_the_preference_centre_sets_what_the_form_says() -> None:
    """Topics that aren't ticked are left, those that are ticked anew are asked for again."""
    asked = Asked()
    answer = ask(
        asked, "POST", "/p/" + token(tokens.UNSUBSCRIBE), body=b"topic=offers&topic=strange"
    )
    assert answer.status == 200
    assert [(one.kind, one.topic) for one in asked.told] == [("unsubscribed", "news")]
    (arrival,) = asked.arrivals
    assert isinstance(arrival.body, ConsentGiven)
    assert (arrival.body.topic, arrival.body.granted) == ("offers", True)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", ["u", "p"])
@pytest.mark.parametrize("language", ["en", "pl"])
def test_pages_are_in_the_language_of_the_browser(method: str, kind: str, language: str) -> None:
    """Well-formed, in one language, with names for all that can be done, readable in light and dark."""
    for path in (f"/{kind}/" + token(tokens.UNSUBSCRIBE), f"/{kind}/x"):
        answer = ask(Asked(), method, path, language=language.encode())
        text = answer.body.decode()
        HTMLParser(strict=True).parse(text)
        page = Markup(text)
        assert page.mistakes == []
        assert page.language == language
        assert page.headings == [page.title]
        assert all(name for _, name in page.links)
        other = POLISH if language == "en" else ENGLISH
        for sentence in msgspec.structs.astuple(other)[1:]:
            assert html.escape(sentence) not in text


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (b"", "en"),
        (b"pl", "pl"),
        (b"pl-PL,pl;q=0.9,en-US;q=0.8", "pl"),
        (b"en-GB,en;q=0.9,pl;q=0.8", "en"),
        (b"de,pl;q=0.3,en;q=0.2", "pl"),
        (b"pl;q=0, en;q=0.1", "en"),
        (b"de;q=high,\xff", "en"),
        (b"x," * 100_000 + b"pl", "en"),
    ],
)
def test_the_preferred_language_that_is_known_is_taken(header: bytes, language: str) -> None:
    assert words_for(header).language == language


@given(st.binary(max_size=60))
def test_any_header_chooses_a_language(header: bytes) -> None:
    """No input raises."""
    assert words_for(header) in (ENGLISH, POLISH)


def test_many_requests_make_few_calls() -> None:
    """A thousand opens at one time are told in a few batches, each once."""
    asked = Asked()
    paths = [
        f"/o/{token(tokens.OPEN, message=bytes([n % 256, n // 256]) + MESSAGE[2:])}"
        for n in range(1000)
    ]

    async def all_of_them() -> None:
        tracking = Tracking({"default": RING}, asked, lambda: NOW)
        headers = {b"user-agent": BROWSER.encode()}
        await asyncio.gather(*(tracking.answer("GET", path, b"", headers) for path in paths))

    asyncio.run(all_of_them())
    assert len(asked.told) == 1000
    assert asked.calls_returned <= 5


class Forgetful(Asked):
    """Stands for the engine a year later: the message is forgotten, its contact isn't."""

    async def message(self, tenant: str, message_id: bytes) -> MessageView | None:
        """Know none."""
        return None


def test_a_link_outlives_its_message() -> None:
    """The token names who leaves, so POST and the preference centre work when the message is forgotten."""
    leaving = Leaving("c1", "marketing", "news")
    text = token(tokens.UNSUBSCRIBE, seal(leaving, RING, MESSAGE))
    asked = Forgetful()
    assert ask(asked, "POST", "/u/" + text).status == 200
    assert [(one.kind, one.leaving) for one in asked.told] == [("unsubscribed", leaving)]
    shown = ask(asked, "GET", "/p/" + text)
    assert (shown.status, b'value="news" checked' in shown.body) == (200, True)


def test_nobody_is_told_that_a_link_worked_that_did_not() -> None:
    """A token that knows nothing by itself, of a message that is forgotten, can't unsubscribe anybody."""
    asked = Forgetful()
    assert ask(asked, "POST", "/u/" + token(tokens.UNSUBSCRIBE)).status == 404
    assert asked.told == []
