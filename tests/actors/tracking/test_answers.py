"""What recipients meet: nothing happens by looking, everything is signed, and repeating tells nothing new."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backend import Arrival, ItemResult, MessageView
from actors.tracking.answers import Answer, Tracking, user_agent_kind
from deliverability import tokens
from engine.errors import CapacityError
from engine.vocabulary import ConsentGiven, Event

NOW = 1_800_000_000_000
RING = tokens.KeyRing(0, {0: b"k" * 32})
MESSAGE = bytes(range(16))
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Asked:
    """Stands for the engine: knows one message, remembers inputs by id."""

    def __init__(self) -> None:
        self.told: dict[str, Arrival] = {}
        self.full = False

    async def message(self, tenant: str, message_id: bytes) -> MessageView | None:
        """Know one message."""
        if (tenant, message_id) != ("default", MESSAGE):
            return None
        return MessageView(MESSAGE.hex(), "c1", "delivered", "marketing", "welcome", topic="news")

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Take inputs, once by id."""
        if self.full:
            raise CapacityError("intake")
        for arrival in arrivals:
            self.told.setdefault(arrival.input_id, arrival)
        return [ItemResult("accepted")] * len(arrivals)


def token(purpose: int, data: bytes = b"", message: bytes = MESSAGE) -> str:
    """Make a token as the composer does."""
    made = tokens.Token(
        purpose, tokens.tenant_tag("default"), message, tokens.last_day(NOW, 30), data
    )
    return tokens.make(made, RING)


def ask(asked: Any, method: str, path: str, agent: str = BROWSER) -> Answer:
    """Ask once."""
    tracking = Tracking({"default": RING}, asked, lambda: NOW)
    return asyncio.run(tracking.answer(method, path, b"List-Unsubscribe=One-Click", agent))


def test_looking_at_the_unsubscribe_page_does_nothing() -> None:
    """Scanners follow links: GET shows a page with a form, and nobody is told."""
    asked = Asked()
    shown = ask(asked, "GET", "/u/" + token(tokens.UNSUBSCRIBE))
    assert (shown.status, asked.told) == (200, {})
    assert b'method="post"' in shown.body


def test_posting_unsubscribes_at_once_and_only_once() -> None:
    """RFC 8058: POST without cookies or redirects withdraws the consent; repeating it is harmless."""
    asked = Asked()
    path = "/u/" + token(tokens.UNSUBSCRIBE)
    assert [ask(asked, "POST", path).status for _ in range(2)] == [200, 200]
    consent, event = (arrival.body for arrival in asked.told.values())
    assert isinstance(consent, ConsentGiven)
    assert (consent.topic, consent.granted) == ("news", False)
    assert isinstance(event, Event)
    assert event.name == "mail.unsubscribed"


def test_what_could_not_be_taken_is_said() -> None:
    """A reader who unsubscribes must not be told that it is done when it isn't."""
    asked = Asked()
    asked.full = True
    assert ask(asked, "POST", "/u/" + token(tokens.UNSUBSCRIBE)).status == 503


def test_a_click_redirects_to_the_signed_target_and_tells_the_contact() -> None:
    """The target stands in the token; nobody can make us redirect elsewhere."""
    asked = Asked()
    path = "/c/" + token(tokens.CLICK, b"\0\3https://shop.example/x")
    answer = ask(asked, "GET", path)
    assert answer.status == 302
    assert (b"location", b"https://shop.example/x") in answer.headers
    (told,) = asked.told.values()
    assert isinstance(told.body, Event)
    assert (told.body.name, told.body.data["link"], told.body.data["by"]) == (
        "mail.clicked",
        3,
        "person",
    )


def test_a_click_gets_on_when_the_engine_is_full() -> None:
    """Readers don't pay for our overload."""
    asked = Asked()
    asked.full = True
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


@pytest.mark.parametrize("path", ["/u/x", "/c/x", "/c/" + "a" * 10_000])
def test_forged_tokens_lead_nowhere(path: str) -> None:
    """Whatever isn't signed by us is 404, without a hint."""
    assert ask(Asked(), "GET", path).status == 404


def test_a_token_of_one_purpose_is_of_no_other() -> None:
    """An open token doesn't unsubscribe."""
    asked = Asked()
    assert ask(asked, "POST", "/u/" + token(tokens.OPEN)).status == 404
    assert asked.told == {}


@given(st.text(max_size=200))
def test_any_token_gets_an_answer(text: str) -> None:
    """No input raises."""
    for kind in "uco":
        assert ask(Asked(), "GET", f"/{kind}/{text}").status in (200, 404)


def test_programs_are_told_from_people() -> None:
    """Scanners and proxies are flagged, not dropped."""
    assert user_agent_kind(BROWSER) == "person"
    assert user_agent_kind("Mozilla/5.0 (via ggpht.com GoogleImageProxy)") == "proxy"
    assert user_agent_kind("python-requests/2.32") == "scanner"
    assert user_agent_kind("") == "scanner"
