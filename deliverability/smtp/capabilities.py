"""Capabilities: what a server said it can do, from its reply to EHLO. RFC 5321 §4.1.1.1."""

from __future__ import annotations

__all__ = ("NO_CAPABILITIES", "Capabilities")

import re

import msgspec

from deliverability.smtp.reply import Reply

_KEYWORD = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,63})(?:[ =](.*))?")
_SIZE_DIGITS_MAX = 20  # RFC 1870 §4


class Capabilities(msgspec.Struct, frozen=True):
    """The service extensions of one session; after STARTTLS they are asked for anew.

    `size` is the largest message taken, in octets; 0 means no fixed limit is declared (RFC 1870 §4).
    `mail_max` is how many transactions the server takes in one session; 0 means that it didn't say
    (RFC 9422). Keywords that are not known here are left out.
    """

    domain: str = ""
    extended: bool = False
    pipelining: bool = False
    chunking: bool = False
    eight_bit_mime: bool = False
    binary_mime: bool = False
    smtputf8: bool = False
    enhanced_status_codes: bool = False
    dsn: bool = False
    starttls: bool = False
    requiretls: bool = False
    declares_size: bool = False
    size: int = 0
    auth: tuple[str, ...] = ()
    mail_max: int = 0

    @classmethod
    def parse(cls, reply: Reply) -> Capabilities:
        """Read a positive reply to EHLO; lines that are not understood are passed over."""
        words = reply.lines[0].split(maxsplit=1)
        keywords: dict[str, str] = {}
        for line in reply.lines[1:]:
            match = _KEYWORD.fullmatch(line.strip())
            if match is not None:
                name = match[1].upper()
                # Several AUTH lines occur: the old form is "AUTH=LOGIN".
                keywords[name] = f"{keywords.get(name, '')} {match[2] or ''}".strip()
        return cls(
            domain=words[0] if words else "",
            extended=True,
            pipelining="PIPELINING" in keywords,
            chunking="CHUNKING" in keywords,
            eight_bit_mime="8BITMIME" in keywords,
            binary_mime="BINARYMIME" in keywords,
            smtputf8="SMTPUTF8" in keywords,
            enhanced_status_codes="ENHANCEDSTATUSCODES" in keywords,
            dsn="DSN" in keywords,
            starttls="STARTTLS" in keywords,
            requiretls="REQUIRETLS" in keywords,
            declares_size="SIZE" in keywords,
            size=_number(keywords.get("SIZE", "")),
            auth=tuple(dict.fromkeys(keywords.get("AUTH", "").upper().split())),
            mail_max=_mail_max(keywords.get("LIMITS", "")),
        )


def _number(digits: str) -> int:
    plain = digits.isascii() and digits.isdigit() and len(digits) <= _SIZE_DIGITS_MAX
    return int(digits) if plain else 0


def _mail_max(limits: str) -> int:
    for limit in limits.split():
        name, _, value = limit.partition("=")
        if name.upper() == "MAILMAX":
            return _number(value)
    return 0


NO_CAPABILITIES = Capabilities()
"""A server of which nothing is known, or that only understands HELO."""
