"""The message side of a rehearsal: small, and honest in what a contact can notice of it.

    scheduled ──due──▶ MaySend ──Permit──▶ under way ──outcome──▶ delivered | bounced
        ▲                 │                    │
        └─ refused until ─┴───── deferred ─────┘       else: cancelled, expired

Expiry, postponement and notices are those of the message machine; credits are always at hand, but for outages. What
is under way can't be cancelled any more.
"""

from __future__ import annotations

__all__ = ("Mail", "Post")

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.vocabulary import Cancel, MaySend, OutcomeKind, OutcomeNotice, Permit, Refuse, Send
from scenarios.proof.case import Outage, Scripted

_EXPIRES_MS: Final = 72 * 3_600_000  # a stream's default age


class Mail(msgspec.Struct):
    """A message that isn't final yet. `reason` is why it was last postponed."""

    message_id: bytes
    send: Send
    expires: int
    attempt: int = 0
    under_way: bool = False
    handed_over: bool = False
    replied: Scripted | None = None


class Post:
    """All mail of one contact.

    Args:
        script: what becomes of attempts, in order for each step; all others are delivered at once.
        outages: when nothing is handed over.
        tell: gives an input to the contact, in the same unit.
        call: asks to be called (`due`) for a message at a time.
        note: notes a line: what, the send, its detail.
    """

    def __init__(
        self,
        script: tuple[Scripted, ...],
        outages: tuple[Outage, ...],
        tell: Callable[[Any], None],
        call: Callable[[int, bytes], None],
        note: Callable[[str, Send, str, Permit | None], None],
    ) -> None:
        self._script = list(script)
        self._outages = outages
        self._tell = tell
        self._call = call
        self._note = note
        self._mail: dict[bytes, Mail] = {}
        self.now = 0

    @property
    def unused(self) -> tuple[Scripted, ...]:
        """What of the script never came about."""
        return tuple(self._script)

    def take(self, message_id: bytes, body: Send | Cancel | Permit | Refuse) -> None:
        """Take what the contact tells a message; one that is final hears nothing."""
        if isinstance(body, Send):
            if message_id in self._mail:
                return
            expires = body.expires or max(body.due, self.now) + _EXPIRES_MS
            self._mail[message_id] = Mail(message_id, body, expires)
            self._call(max(body.due, self.now), message_id)
            return
        mail = self._mail.get(message_id)
        if mail is None:
            return
        match body:
            case Cancel():
                if not mail.under_way:
                    self._finish(mail, "cancelled", body.reason, note="cancelled")
            case Permit():
                self._hand_over(mail, body)
            case Refuse():
                self._refused(mail, body)

    def due(self, message_id: bytes) -> None:
        """Go on with a message whose time has come: ask, or hear the reply to its attempt."""
        mail = self._mail.get(message_id)
        if mail is None:
            return
        if mail.under_way:
            self._reply(mail)
            return
        if self.now >= mail.expires:
            self._finish(mail, "expired", "age", note="expired")
            return
        for outage in self._outages:
            if outage.at <= self.now < outage.until:
                self._call(outage.until, message_id)
                return
        mail.attempt += 1
        send = mail.send
        self._tell(MaySend(message_id, mail.attempt, send.stream, send.topic, send.due))

    def _hand_over(self, mail: Mail, permit: Permit) -> None:
        mail.under_way = True
        if not mail.handed_over:
            mail.handed_over = True
            self._note("send", mail.send, mail.send.template, permit)
        mail.replied = self._scripted(mail.send.step)
        after_ms = mail.replied.after_ms if mail.replied else 0
        late = 0 if mail.replied and mail.replied.outcome == "deferred" else after_ms
        self._call(self.now + late, mail.message_id)

    def _scripted(self, step: str) -> Scripted | None:
        found = next((one for one in self._script if one.step == step), None)
        if found is not None:
            self._script.remove(found)
        return found

    def _refused(self, mail: Mail, refuse: Refuse) -> None:
        if refuse.retry_at is not None:
            self._postpone(mail, max(refuse.retry_at, self.now + 1))
            return
        self._finish(mail, "cancelled", refuse.reason, note=refuse.reason)

    def _postpone(self, mail: Mail, due: int) -> None:
        mail.send = msgspec.structs.replace(mail.send, due=due)
        self._call(due, mail.message_id)

    def _reply(self, mail: Mail) -> None:
        mail.under_way = False
        replied = mail.replied
        if replied is None or replied.outcome != "deferred":
            kind = replied.outcome if replied else "delivered"
            self._finish(mail, kind, "")
        elif self.now + replied.after_ms >= mail.expires:
            self._finish(mail, "expired", "", note="expired")
        else:
            self._notify(mail, "deferred", "", final=False)
            self._postpone(mail, self.now + replied.after_ms)

    def _finish(self, mail: Mail, kind: OutcomeKind, cause: str, note: str = "") -> None:
        if note:
            self._note("not_sent", mail.send, note, None)
        del self._mail[mail.message_id]
        self._notify(mail, kind, cause, final=True)

    def _notify(self, mail: Mail, kind: OutcomeKind, cause: str, *, final: bool) -> None:
        send = mail.send
        self._tell(
            OutcomeNotice(
                mail.message_id,
                kind,
                mail.attempt,
                self.now,
                final,
                send.journey,
                send.step,
                cause,
            )
        )
