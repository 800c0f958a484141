"""How a recipient gets off the list: RFC 2369 §3.2 List-Unsubscribe, and RFC 8058 one-click."""

from __future__ import annotations

__all__ = ("NOT_LISTED", "Leave", "Unsubscribe")

import re

import msgspec

from deliverability import tokens
from deliverability.compose.addresses import parse_mailbox
from deliverability.compose.template import Letter, Profile
from deliverability.leaving import Leaving, seal
from engine.errors import InputError, Place

_url = re.compile(r"https?://[!-;=?-~]{1,860}").fullmatch
_mailto = re.compile(r"mailto:[!-;=?-~]{1,860}").fullmatch


class Leave(msgspec.Struct, frozen=True):
    """Addresses to unsubscribe at, "" where there is none, and the value of the header field, or ""."""

    url: str = ""
    mailto: str = ""
    value: str = ""
    one_click: bool = False


NOT_LISTED = Leave()


class Unsubscribe:
    """Makes the addresses of a letter: its own, else signed ones by the profile.

    Raises:
        InputError: the profile's address isn't one.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        if profile.unsubscribe_url:
            _check(_url(profile.unsubscribe_url), "profile.unsubscribe_url", "https://…/")
        if profile.unsubscribe_mailto:
            parse_mailbox(profile.unsubscribe_mailto, "profile.unsubscribe_mailto")

    def of(self, letter: Letter) -> Leave:
        """Tell the addresses of a letter.

        They are in the header when its stream is one that is subscribed to.
        """
        url, mailto = letter.unsubscribe_url, letter.unsubscribe_mailto
        profile = self._profile
        listed = letter.stream in profile.unsubscribe_streams
        if listed and profile.keys is not None:
            token = ""  # one for both
            if profile.unsubscribe_url and not url:
                token = self._token(letter)
                url = profile.unsubscribe_url + token
            if profile.unsubscribe_mailto and not mailto:
                mailto = (
                    f"mailto:{profile.unsubscribe_mailto}?subject={token or self._token(letter)}"
                )
        if not url and not mailto:
            return NOT_LISTED
        if url:
            _check(_url(url), "unsubscribe_url", "an absolute URL in ASCII, at most 860 characters")
        if mailto:
            _check(_mailto(mailto), "unsubscribe_mailto", "mailto:… in ASCII")
        if not listed:
            return Leave(url, mailto)
        value = ",\r\n ".join(f"<{address}>" for address in (url, mailto) if address)
        # RFC 8058 §3.1: one HTTPS URI is needed for List-Unsubscribe-Post
        return Leave(url, mailto, value, url.startswith("https:"))

    def _token(self, letter: Letter) -> str:
        keys = self._profile.keys
        assert keys is not None, "asked before"
        message_id = bytes.fromhex(letter.message_id_hex)
        who = seal(Leaving(letter.contact, letter.stream, letter.topic), keys, message_id)
        return tokens.Stamp(
            tokens.tenant_tag(letter.tenant),
            message_id,
            tokens.last_day(letter.date_ms, self._profile.unsubscribe_ttl_days),
            keys,
        ).token(tokens.UNSUBSCRIBE, who)


def _check(good: object, path: str, mend: str) -> None:
    if not good:
        raise InputError("not an address to unsubscribe at", Place(path=path), mend)
