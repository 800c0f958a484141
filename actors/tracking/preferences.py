"""The preference centre: which topics a recipient gets. The token of the unsubscribe link opens it.

GET shows, and does nothing by itself; POST sets what the form says. Who has a mail may see and change which topics its
recipient gets, and nothing else: no address, no name.
"""

from __future__ import annotations

__all__ = ("Consented", "PreferenceCentre")

import html
from collections.abc import Callable, Sequence
from hashlib import blake2b
from urllib.parse import parse_qs

import structlog

from actors.backend import Arrival, Backend, ContactView
from actors.tracking.gathering import Gatherer
from actors.tracking.pages import PAGE, PLAIN, Answer, gone, later, page
from actors.tracking.words import Words
from deliverability import tokens
from deliverability.leaving import Leaving
from deliverability.returned import Reported, Returned
from engine.errors import VeredusError
from engine.vocabulary import ConsentGiven

log = structlog.get_logger()

BODY_BYTES_MAX = 16_384
TOPICS_MAX = 100

Consented = Callable[[str, Sequence[str], Sequence[str]], None]
"""Hears that a recipient asked for topics again: tenant, addresses of the contact, topics."""


class PreferenceCentre:
    """Shows and sets the topics of the contact that a message went to.

    Args:
        backend: knows contacts and messages.
        gatherer: tells messages of unsubscribing.
        now: ms.
        consented: hears of topics that were asked for again.
    """

    def __init__(
        self,
        backend: Backend,
        gatherer: Gatherer,
        now: Callable[[], int],
        consented: Consented | None = None,
    ) -> None:
        self._backend = backend
        self._gatherer = gatherer
        self._now = now
        self._consented = consented

    async def answer(
        self,
        method: str,
        tenant: str,
        token: tokens.Token,
        text: str,
        body: bytes,
        words: Words,
        leaving: Leaving | None = None,
    ) -> Answer:
        """Answer one request with a token that was verified; `leaving`: what it knows without its message."""
        if method not in ("GET", "HEAD", "POST"):
            return Answer(405, (*PLAIN, (b"allow", b"GET, POST")), b"POST sets your choice.\n")
        try:
            message = leaving or await self._about(tenant, token.message_id)
            contact = await self._backend.contact(tenant, message.contact) if message else None
            if message is None or contact is None or contact.erased:
                return gone(words)
            if method != "POST":
                form = _form(contact, message, words)
                return Answer(200, PAGE, page(words, words.which, form, words.which_more))
            wanted = _wanted(body)
            if wanted is None:
                return Answer(413, PLAIN, b"That is more than this form sends.\n")
            await self._set(tenant, token, text, contact, message, wanted)
        except VeredusError as error:
            log.warning("preferences_not_taken", error=str(error))
            return later(words)
        back = f'<p><a href="/p/{html.escape(text)}">{html.escape(words.back)}</a></p>'
        return Answer(200, PAGE, page(words, words.kept, back, words.kept_more))

    async def _about(self, tenant: str, message_id: bytes) -> Leaving | None:
        found = await self._backend.message(tenant, message_id)
        return Leaving(found.contact, found.stream, found.topic) if found else None

    async def _set(
        self,
        tenant: str,
        token: tokens.Token,
        text: str,
        contact: ContactView,
        message: Leaving,
        wanted: set[str],
    ) -> None:
        now = self._now()
        seal = blake2b(f"{text} {now}".encode(), digest_size=12).hexdigest()
        topics = _topics(contact, message)
        for topic, granted in topics.items():
            if granted and topic not in wanted:
                left = Returned("unsubscribed", topic=topic, proof="preferences", leaving=message)
                input_id = f"preferences\x1f{seal}\x1f{topic}"
                await self._gatherer.tell(Reported(tenant, token.message_id, left, input_id))
        again = [topic for topic, granted in topics.items() if not granted and topic in wanted]
        if not again:
            return
        source = "preference centre"
        await self._backend.admit(
            [
                Arrival(
                    tenant,
                    message.contact,
                    f"preferences\x1f{seal}\x1f{topic}",
                    now,
                    ConsentGiven(topic, granted=True, at=now, source=source),
                )
                for topic in again
            ]
        )
        if self._consented is not None:
            texts = [value for value in contact.attributes.values() if isinstance(value, str)]
            self._consented(tenant, [one for one in texts if "@" in one], again)


def _topics(contact: ContactView, message: Leaving) -> dict[str, bool]:
    """List the topics that a contact has an opinion on, and that of the message."""
    found = {topic: consent.granted for topic, consent in sorted(contact.consents.items())}
    found.setdefault(message.topic or message.stream, False)
    return dict(list(found.items())[:TOPICS_MAX])


def _form(contact: ContactView, message: Leaving, words: Words) -> str:
    lines = [
        f'<label><input type="checkbox" name="topic" value="{html.escape(topic)}"'
        f"{' checked' if granted else ''}> {html.escape(topic)}</label>"
        for topic, granted in _topics(contact, message).items()
    ]
    button = f"<button>{html.escape(words.keep)}</button>"
    title = html.escape(words.which)
    return f'<form method="post"><fieldset aria-label="{title}">{"".join(lines)}</fieldset>{button}</form>'


def _wanted(body: bytes) -> set[str] | None:
    if len(body) > BODY_BYTES_MAX:
        return None
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=2 * TOPICS_MAX)
    except ValueError:
        return None
    return set(fields.get("topic", ()))
