"""From a path with a token to an answer, and to what the contact is told. Pure but for the backend that is asked.

A token is signed by its tenant's secret and names a message; nobody can make one, and it carries no address. Repeating
a request tells the contact nothing new: input ids derive from the token.
"""

from __future__ import annotations

__all__ = ("Answer", "Tracking", "user_agent_kind")

import html
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Literal

import msgspec
import structlog

from actors.backend import Arrival, Backend, ContactInput, MessageView
from deliverability import tokens
from engine.errors import VeredusError
from engine.vocabulary import ConsentGiven, Event

log = structlog.get_logger()

TOKEN_CHARS_MAX = 4096
CLICK_HEAD = 2  # bytes of the link's number before its target
PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00"
    b"\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
NO_STORE = (b"cache-control", b"no-store, private")
PLAIN = ((b"content-type", b"text/plain; charset=utf-8"), NO_STORE)
PAGE = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    ),
    (b"referrer-policy", b"no-referrer"),
    NO_STORE,
)

AgentKind = Literal["person", "scanner", "proxy"]


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def user_agent_kind(agent: str) -> AgentKind:
    """Guess who fetched it: a person's browser, a mail scanner, or a proxy that fetches images in advance.

    Source: the agents that Google's image proxy and Apple's privacy proxy announce; programs say so in their names.
    """
    text = agent.lower()
    if "googleimageproxy" in text or text == "mozilla/5.0":
        return "proxy"
    words = (
        "bot",
        "scan",
        "crawl",
        "preview",
        "python",
        "curl",
        "wget",
        "java/",
        "go-http",
        "safelinks",
    )
    if not text or any(word in text for word in words):
        return "scanner"
    return "person"


class Tracking:
    """Answers requests with tokens.

    Args:
        rings: the keys of each tenant.
        backend: knows the messages, and takes what contacts are told.
        now: ms.
    """

    def __init__(
        self, rings: Mapping[str, tokens.KeyRing], backend: Backend, now: Callable[[], int]
    ) -> None:
        self._rings = {name: (ring, tokens.tenant_tag(name)) for name, ring in rings.items()}
        self._backend = backend
        self._now = now

    @staticmethod
    def serves(path: str) -> bool:
        """Tell whether a path is one of ours."""
        return path[:3] in ("/u/", "/c/", "/o/")

    async def answer(self, method: str, path: str, body: bytes, agent: str) -> Answer:
        """Answer one request. Never says whether a message or contact exists."""
        kind, text = path[1], path[3:]
        if kind == "u":
            return await self._unsubscribe(method, text, body)
        if method not in ("GET", "HEAD"):
            return Answer(405, (*PLAIN, (b"allow", b"GET, HEAD")), b"Only GET is of use here.\n")
        if kind == "c":
            return await self._click(text, agent)
        return await self._open(text, agent)

    async def _unsubscribe(self, method: str, text: str, body: bytes) -> Answer:
        found = self._read(text, tokens.UNSUBSCRIBE)
        if found is None:
            return Answer(404, PAGE, _page("This link is no longer valid", ""))
        tenant, token = found
        if method in ("GET", "HEAD"):
            button = '<form method="post"><button>Unsubscribe</button></form>'
            return Answer(200, PAGE, _page("Unsubscribe from these mails?", button))
        if method != "POST":
            return Answer(405, (*PLAIN, (b"allow", b"GET, POST")), b"POST unsubscribes.\n")
        del body  # RFC 8058 §3.2: `List-Unsubscribe=One-Click`; a browser's form posts nothing
        done = await self._tell(tenant, token, text, "unsubscribed", {})
        if not done:
            headers = (*PAGE, (b"retry-after", b"10"))
            return Answer(503, headers, _page("Please try again in a moment", ""))
        return Answer(
            200,
            PAGE,
            _page("You are unsubscribed", "<p>It may take a moment to hold everywhere.</p>"),
        )

    async def _click(self, text: str, agent: str) -> Answer:
        found = self._read(text, tokens.CLICK)
        if found is None:
            return Answer(404, PLAIN, b"This link is no longer valid.\n")
        tenant, token = found
        target = token.data[CLICK_HEAD:]
        data = {
            "link": int.from_bytes(token.data[:CLICK_HEAD]),
            "url": target.decode("utf-8", "replace"),
            "by": user_agent_kind(agent),
        }
        await self._tell(
            tenant, token, text, "clicked", data
        )  # the reader gets on even if we can't take it
        return Answer(302, (*PLAIN, (b"location", target)), b"")

    async def _open(self, text: str, agent: str) -> Answer:
        found = self._read(text.removesuffix(".gif"), tokens.OPEN)
        if found is not None:
            tenant, token = found
            await self._tell(tenant, token, text, "opened", {"by": user_agent_kind(agent)})
        return Answer(200, ((b"content-type", b"image/gif"), NO_STORE), PIXEL)

    def _read(self, text: str, purpose: int) -> tuple[str, tokens.Token] | None:
        if len(text) > TOKEN_CHARS_MAX:
            return None
        for tenant, (ring, tag) in self._rings.items():
            token = tokens.read(text, purpose, ring, self._now())
            if isinstance(token, tokens.Token) and token.tenant == tag:
                return tenant, token
        return None

    async def _tell(
        self,
        tenant: str,
        token: tokens.Token,
        text: str,
        what: Literal["unsubscribed", "clicked", "opened"],
        data: dict[str, object],
    ) -> bool:
        """Tell the contact, durably. Returns False when it couldn't be taken."""
        try:
            message = await self._backend.message(tenant, token.message_id)
            if message is not None:
                await self._backend.admit(self._inputs(tenant, message, text, what, data))
        except VeredusError as error:
            log.warning("tracking_not_taken", what=what, error=str(error))
            return False
        return True

    def _inputs(
        self,
        tenant: str,
        message: MessageView,
        text: str,
        what: Literal["unsubscribed", "clicked", "opened"],
        data: dict[str, object],
    ) -> list[Arrival]:
        now = self._now()
        seal = blake2b(text.encode(), digest_size=12).hexdigest()
        told: list[tuple[str, ContactInput]] = []
        if what == "unsubscribed":
            topic = message.topic or message.stream
            consent = ConsentGiven(topic, granted=False, at=now, source="one-click unsubscribe")
            told.append(("consent", consent))
        about = {
            "message_id": message.message_id,
            "scenario": message.scenario,
            "step": message.step,
            "topic": message.topic,
            **data,
        }
        told.append((what, Event(f"mail.{what}", now, about)))
        return [
            Arrival(tenant, message.contact, f"mail.{name}\x1f{seal}", now, body)
            for name, body in told
        ]


def _page(title: str, content: str) -> bytes:
    shown = html.escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown}</title>
<style>
body {{ font: 18px/1.5 system-ui, sans-serif; text-align: center;
  max-width: 32rem; margin: 15vh auto; padding: 0 1.5rem; }}
h1 {{ font-size: 1.6rem; }}
button {{ font: inherit; padding: .6em 1.6em; border: 0; border-radius: .5em;
  background: #a5371f; color: #fff; cursor: pointer; }}
</style>
</head>
<body>
<main>
<h1>{shown}</h1>
{content}
</main>
</body>
</html>
""".encode()
