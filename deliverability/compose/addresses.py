"""Mailboxes: what may stand in an envelope or an address field, and in which form it goes out.

A local part is a dot-atom or a quoted string of at most 64 octets (RFC 5321 §4.5.3.1.1), a domain
is letters, digits and hyphens of at most 255, after IDNA 2008 (RFC 5891) has made A-labels of the
rest. A local part that isn't ASCII needs SMTPUTF8 (RFC 6531). No address that passes contains a
control character, white space outside quotes, or an angle bracket.
"""

from __future__ import annotations

__all__ = ("Mailbox", "parse_domain", "parse_mailbox")

import re
import unicodedata

import idna
import msgspec

from engine.errors import InputError, Place

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_plain = re.compile(
    rf"([{_ATEXT}]+(?:\.[{_ATEXT}]+)*)@"
    r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
).fullmatch
_utf8_local = re.compile(
    rf"[{_ATEXT}\u00a1-\U0010ffff]+(?:\.[{_ATEXT}\u00a1-\U0010ffff]+)*"
).fullmatch
_quoted_local = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"').fullmatch
_domain = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
).fullmatch

_MAX_LOCAL = 64  # RFC 5321 §4.5.3.1.1, octets
_MAX_DOMAIN = 255  # §4.5.3.1.2
_MAX_PATH = 254  # §4.5.3.1.3: 256 with the angle brackets


class Mailbox(msgspec.Struct, frozen=True):
    """A checked mailbox; `domain` in lower case, as A-labels.

    `smtputf8` when the local part isn't ASCII.
    """

    local: str
    domain: str
    smtputf8: bool = False

    def __str__(self) -> str:
        """Give the addr-spec, RFC 5322 §3.4.1."""
        return f"{self.local}@{self.domain}"


def parse_mailbox(text: str, path: str = "address") -> Mailbox:
    """Check an address (no display name, no brackets) and bring it to the form in which it is sent.

    Raises:
        InputError: says what is wrong with it; `path` tells the place.
    """
    found = _plain(text) if len(text) <= _MAX_PATH else None
    if found:
        local, domain = found.groups()
        if len(local) <= _MAX_LOCAL:
            return Mailbox(local, domain.lower())
    return _parse_unusual(text, path)


def parse_domain(text: str, path: str = "domain") -> str:
    """Check a domain and give it in lower case, as A-labels. RFC 5891 §4.

    Raises:
        InputError: it isn't one.
    """
    domain = text.removesuffix(".").lower()
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise _refuse(text, path, f"its domain can't be written as A-labels: {error}") from None
    if not _domain(domain) or len(domain) > _MAX_DOMAIN:
        raise _refuse(text, path, "its domain isn't letters, digits and hyphens between dots")
    return domain


def _parse_unusual(text: str, path: str) -> Mailbox:
    """Quoted local parts, non-ASCII, and everything that is wrong."""
    if len(text) > 2 * _MAX_PATH:
        raise _refuse(text, path, f"longer than {_MAX_PATH} octets")
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise _refuse(text, path, "one @ between a local part and a domain is expected")
    mailbox = Mailbox(_local(local, text, path), parse_domain(domain, path), not local.isascii())
    if len(str(mailbox).encode()) > _MAX_PATH:
        raise _refuse(text, path, f"longer than {_MAX_PATH} octets")
    return mailbox


def _local(local: str, text: str, path: str) -> str:
    if not local.isascii():
        local = unicodedata.normalize("NFC", local)  # RFC 6532 §3.1
    if not (_quoted_local(local) or (_utf8_local(local) and local.isprintable())):
        raise _refuse(text, path, "its local part has a character or a dot where none may be")
    try:
        octets = len(local.encode())
    except UnicodeEncodeError:
        raise _refuse(text, path, "its local part isn't Unicode text") from None
    if octets > _MAX_LOCAL:
        raise _refuse(text, path, f"its local part is longer than {_MAX_LOCAL} octets")
    return local


def _refuse(text: str, path: str, why: str) -> InputError:
    """The address itself is shown only in part, by its length, for error texts go to logs."""
    return InputError(f"not an address ({len(text)} characters): {why}", Place(path=path))
