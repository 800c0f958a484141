"""Greylisting, learned for each site: how long it wants, and whether it lets an address in for good.

On the first greylisting reply fresh mail is held but for a few probes: many greylists let an address in for good
after some mail has passed, and each message that isn't sent before that is a deferral saved. When mail has passed
and fresh messages still are greylisted, the site does it for each message, holding is of no use, and it ends.

A probe's retry may never come: its message expired, was cancelled, or went from another address. So holding has two
ends of its own: a probe that hasn't passed in `_FORGOTTEN_MS` isn't waited for any longer, and when nothing at all
has passed for `_HOLD_MAX_MS` fresh mail goes again, a deferral each, as it would without this module.
"""

from __future__ import annotations

__all__ = ("Greylist", "GreylistMode")

import enum
from collections import deque

_MINUTE = 60_000
_PROBES = 6  # fresh messages on their way while the site is being found out
_PASSES_TO_BELIEVE = 8
_FORGOTTEN_MS = 60 * _MINUTE
_HOLD_MAX_MS = 4 * 60 * _MINUTE


class GreylistMode(enum.Enum):
    """What is known of a site."""

    NONE = "none"  # never seen
    LEARNING = "learning"  # fresh mail is held but for probes
    LETS_IN = "lets-in"  # the address is known there now
    EACH_MESSAGE = "each-message"  # every message is greylisted once


class Greylist:
    """What one site's greylisting wants."""

    def __init__(self) -> None:
        self.mode = GreylistMode.NONE
        self._too_soon_ms = 0  # the longest age at which a retry was deferred again
        self._enough_ms = 0  # the shortest age at which one passed
        self._waiting: deque[int] = deque()  # when fresh messages were deferred that haven't passed
        self._held_since_ms = 0  # when holding began, or something last passed
        self._passed = self._fresh_in = self._fresh_again = 0
        self._fresh_sent_ms = 0

    def delay_ms(self) -> int:
        """Return when to retry: between what was too soon and what was enough, closing in on it."""
        if not self._enough_ms:
            return max(5 * _MINUTE, self._too_soon_ms * 3 // 2)
        if self._enough_ms > self._too_soon_ms * 5 // 4 + _MINUTE and self._passed % 4 == 3:
            return max(_MINUTE, (self._too_soon_ms + self._enough_ms) // 2)
        return self._enough_ms

    def remember(self, mode: GreylistMode, delay_ms: int) -> None:
        """Take over what was found out before a restart."""
        if mode is not GreylistMode.LEARNING:
            self.mode = mode
        self._enough_ms = delay_ms

    def learned_delay_ms(self) -> int:
        """Return the delay that was seen to suffice; 0 if none was."""
        return self._enough_ms

    def holds_fresh(self, now_ms: int) -> int:
        """Return until when fresh mail is held; 0 if it isn't."""
        if self.mode is not GreylistMode.LEARNING:
            return 0
        if now_ms - self._held_since_ms > _HOLD_MAX_MS:
            self.mode = GreylistMode.EACH_MESSAGE  # so far as anybody can tell
            return 0
        while self._waiting and now_ms - self._waiting[0] > _FORGOTTEN_MS:
            self._waiting.popleft()
        if len(self._waiting) < _PROBES:
            until_ms = self._fresh_sent_ms + _MINUTE
            return until_ms if until_ms > now_ms else 0
        return now_ms + _MINUTE

    def sent_fresh(self, now_ms: int) -> None:
        """Note that a first attempt was made."""
        self._fresh_sent_ms = now_ms

    def deferred(self, age_ms: int, now_ms: int) -> None:
        """Note a greylisting reply to a message first tried `age_ms` ago (0: this was the first attempt)."""
        if self.mode in (GreylistMode.NONE, GreylistMode.LETS_IN):
            self.mode = GreylistMode.LEARNING
            self._held_since_ms = now_ms
            self._passed = self._fresh_in = self._fresh_again = 0
        if age_ms > 0:
            self._too_soon_ms = max(self._too_soon_ms, age_ms)
            if self._enough_ms and self._too_soon_ms >= self._enough_ms:
                self._enough_ms = 0
            return
        self._waiting.append(now_ms)
        if self._passed:
            self._fresh_again += 1
            self._fresh_in = 0
        if self._passed >= _PASSES_TO_BELIEVE and self._fresh_again >= 3:
            self.mode = GreylistMode.EACH_MESSAGE

    def accepted(self, age_ms: int, now_ms: int) -> None:
        """Note an acceptance, of a retry (`age_ms` after the first attempt) or of a first attempt (0)."""
        if self.mode is GreylistMode.NONE:
            return
        self._held_since_ms = now_ms
        if age_ms > 0:
            if self._waiting:
                self._waiting.popleft()
            self._passed += 1
            if age_ms > self._too_soon_ms:
                self._enough_ms = min(self._enough_ms or age_ms, age_ms)
            return
        self._fresh_in += 1
        if self.mode is GreylistMode.LEARNING and self._fresh_in >= 3:
            self.mode = GreylistMode.LETS_IN
