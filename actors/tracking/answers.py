"""From a path with a token to an answer, and to what the contact is told. Pure but for the backend that is asked.

A token is signed by its tenant's secret and names a message; nobody can make one, and it carries no address. Repeating
a request tells the contact nothing new: input ids derive from the token.
"""

from __future__ import annotations

__all__ = ("Tracking",)

import html
from collections.abc import Callable, Mapping
from hashlib import blake2b

import structlog

from actors.backend import Backend, ItemResult
from actors.tracking.agents import AgentKind, agent_kind
from actors.tracking.gathering import Gatherer
from actors.tracking.pages import NO_STORE, PAGE, PIXEL, PLAIN, Answer, gone, later, page
from actors.tracking.preferences import Consented, PreferenceCentre
from actors.tracking.words import Words, words_for
from deliverability import tokens
from deliverability.leaving import unseal
from deliverability.returned import Reported, Returned
from engine.errors import VeredusError

log = structlog.get_logger()

TOKEN_CHARS_MAX = 4096
CLICK_HEAD = 2  # bytes of the link's number before its target


class Tracking:
    """Answers requests with tokens.

    Args:
        rings: the keys of each tenant.
        backend: knows the messages, and takes what contacts are told.
        now: ms.
        consented: hears of topics that a recipient asked for again.
    """

    def __init__(
        self,
        rings: Mapping[str, tokens.KeyRing],
        backend: Backend,
        now: Callable[[], int],
        consented: Consented | None = None,
    ) -> None:
        self._rings = {name: (ring, tokens.tenant_tag(name)) for name, ring in rings.items()}
        self._backend = backend
        self._now = now
        self._gatherer = Gatherer(backend.returned)
        self._centre = PreferenceCentre(backend, self._gatherer, now, consented)

    @staticmethod
    def serves(path: str) -> bool:
        """Tell whether a path is one of ours."""
        return path[:3] in ("/u/", "/c/", "/o/", "/p/")

    async def answer(
        self, method: str, path: str, body: bytes, headers: Mapping[bytes, bytes]
    ) -> Answer:
        """Answer one request. Never says whether a message or contact exists."""
        kind, text = path[1], path[3:]
        if kind in {"u", "p"}:
            words = words_for(headers.get(b"accept-language", b""))
            if kind == "u":
                return await self._unsubscribe(method, text, words)
            found = self._read(text, tokens.UNSUBSCRIBE)
            if found is None:
                return gone(words)
            leaving = unseal(found[1], self._rings[found[0]][0])
            return await self._centre.answer(method, *found, text, body, words, leaving)
        if method not in ("GET", "HEAD"):
            return Answer(405, (*PLAIN, (b"allow", b"GET, HEAD")), b"Only GET is of use here.\n")
        if kind == "c":
            return await self._click(text, agent_kind(method, headers))
        return await self._open(text, agent_kind(method, headers))

    async def _unsubscribe(self, method: str, text: str, words: Words) -> Answer:
        """Unsubscribe by POST alone: `List-Unsubscribe=One-Click` (RFC 8058 §3.2), or a browser's empty form."""
        found = self._read(text, tokens.UNSUBSCRIBE)
        if found is None:
            return gone(words)
        tenant, token = found
        if method in ("GET", "HEAD"):
            button = (
                f'<form method="post"><button>{html.escape(words.leave_button)}</button></form>'
            )
            choose = f'<a href="/p/{html.escape(text)}">{html.escape(words.choose)}</a>'
            content = f"{button}\n<p>{choose}</p>"
            return Answer(200, PAGE, page(words, words.leave, content, words.leave_more))
        if method != "POST":
            return Answer(405, (*PLAIN, (b"allow", b"GET, POST")), b"POST unsubscribes.\n")
        leaving = unseal(token, self._rings[tenant][0])
        try:
            if leaving is None and await self._backend.message(tenant, token.message_id) is None:
                return gone(words)  # nobody knows any more whom it was about
        except VeredusError:
            return later(words)
        left = Returned("unsubscribed", proof="one-click", leaving=leaving)
        result = await self._tell(tenant, token, text, left)
        if result is None:
            return later(words)
        if result.status == "refused":
            return gone(words)
        return Answer(200, PAGE, page(words, words.left, more=words.left_more))

    async def _click(self, text: str, by: AgentKind) -> Answer:
        found = self._read(text, tokens.CLICK)
        if found is None:
            return Answer(404, PLAIN, b"This link is no longer valid.\n")
        tenant, token = found
        target = token.data[CLICK_HEAD:]
        data = {
            "link": int.from_bytes(token.data[:CLICK_HEAD]),
            "url": target.decode("utf-8", "replace"),
            "by": by,
        }
        # the reader gets on even if we can't take it
        await self._tell(tenant, token, text, Returned("clicked", data=data))
        return Answer(302, (*PLAIN, (b"location", target)), b"")

    async def _open(self, text: str, by: AgentKind) -> Answer:
        found = self._read(text.removesuffix(".gif"), tokens.OPEN)
        if found is not None:
            tenant, token = found
            await self._tell(tenant, token, text, Returned("opened", data={"by": by}))
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
        self, tenant: str, token: tokens.Token, text: str, returned: Returned
    ) -> ItemResult | None:
        """Tell the message, durably, once for each token. Returns None when it couldn't be taken."""
        seal = blake2b(text.encode(), digest_size=12).hexdigest()
        input_id = f"mail.{returned.kind}\x1f{seal}"
        try:
            return await self._gatherer.tell(Reported(tenant, token.message_id, returned, input_id))
        except VeredusError as error:
            log.warning("tracking_not_taken", what=returned.kind, error=str(error))
            return None
