"""What an entry of the suppression list is, for whom it holds and how long; and the hash of an address."""

from __future__ import annotations

__all__ = (
    "DIGEST_BYTES",
    "OPERATOR",
    "REASONS",
    "ROLES",
    "Entry",
    "Hasher",
    "Reason",
    "check_scope",
    "normalised",
    "outranks",
    "scope_of",
    "scopes_of",
    "tenant_of_scope",
)

from functools import lru_cache
from hashlib import sha256
from hmac import digest as hmac_digest
from typing import Literal, get_args

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from deliverability.compose.addresses import parse_domain, parse_mailbox
from engine.errors import InputError, Place

Reason = Literal[
    "hard-bounce",  # the address is dead: a hard cause, or a bounce that proves it
    "soft-bounces",  # k failures in n days
    "complaint",  # the recipient, or a provider for them, complained
    "unsubscribe",
    "spam-trap",
    "role",  # abuse@, postmaster@, ...: nobody signed up with it
    "manual",
    "imported",  # another sender's list that says no reason
]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""In the order of their numbers in a view's file: only ever added to at the end."""

_RANK: dict[str, int] = {
    name: rank
    for rank, name in enumerate(
        (
            "imported",
            "soft-bounces",
            "role",
            "hard-bounce",
            "unsubscribe",
            "manual",
            "complaint",
            "spam-trap",
        )
    )
}
"""Which reason is shown when a scope has several: what a person said outweighs what a machine found out."""

OPERATOR = "operator"
DIGEST_BYTES = 16
KEY_BYTES_MIN = 16
_CONTEXT = b"veredus suppression\0"
ROLES = frozenset(
    (
        *("abuse", "admin", "administrator", "billing", "contact", "devnull", "dns", "ftp", "help"),
        *("helpdesk", "hostmaster", "info", "inoc", "ispfeedback", "ispsupport", "list"),
        *("list-request", "mailer-daemon", "maildaemon", "marketing", "news", "no-reply", "noc"),
        *("noreply", "null", "office", "phish", "phishing", "postmaster", "privacy", "registrar"),
        *(
            "root",
            "sales",
            "security",
            "spam",
            "ssladmin",
            "support",
            "sysadmin",
            "tech",
            "trouble",
        ),
        *("usenet", "undisclosed-recipients", "uucp", "webmaster", "www"),
    )
)
"""Local parts that stand for a role, not a person: those of RFC 2142, and what providers count among them."""

_NAME_MAX = 100
_LEVELS = ("tenant", "stream", "topic")


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One reason not to send, within one scope. Times in ms; `expires` 0: it holds until it is lifted."""

    scope: str
    reason: str
    source: str  # who says so: bounce, feedback-loop, api, import:ses, ...
    evidence: str  # what proves it, without an address: a message id, a reply code, a report's id
    created: int
    expires: int = 0

    def holds(self, now: int) -> bool:
        """Tell whether it still holds."""
        return not self.expires or self.expires > now


def outranks(new: Entry, old: Entry) -> bool:
    """Tell whether a new entry replaces the one of its scope: a graver reason, or the same for longer."""
    graver = _RANK.get(new.reason, 0) - _RANK.get(old.reason, 0)
    if graver:
        return graver > 0
    return bool(old.expires) and (not new.expires or new.expires > old.expires)


def scope_of(level: str, tenant: str = "", name: str = "") -> str:
    """Make a scope. Raises: InputError: it can't be one."""
    return check_scope("/".join(part for part in (level, tenant, name) if part))


def check_scope(text: str, path: str = "scope") -> str:
    """Check a scope as text. Raises: InputError: with the forms there are."""
    level, _, rest = text.partition("/")
    tenant, _, name = rest.partition("/")
    fine = text == OPERATOR if level == OPERATOR else level in _LEVELS and bool(tenant)
    if level in ("stream", "topic"):
        fine = fine and bool(name)
    elif level == "tenant":
        fine = fine and not name
    if not fine or len(text) > 3 * _NAME_MAX or not text.isprintable():
        forms = "operator, tenant/TENANT, stream/TENANT/NAME or topic/TENANT/NAME"
        raise InputError(f"{text[:80]!r} is no scope", Place(path=path), f"write it as {forms}")
    return text


def tenant_of_scope(scope: str) -> str:
    """Tell whose scope it is; "" is the operator's."""
    return "" if scope == OPERATOR else scope.split("/", 2)[1]


@lru_cache(maxsize=4096)
def scopes_of(tenant: str, stream: str, topic: str) -> tuple[str, ...]:
    """Give the scopes that a message falls under, the widest first."""
    scopes = [OPERATOR, f"tenant/{tenant}", f"stream/{tenant}/{stream}"]
    if topic:
        scopes.append(f"topic/{tenant}/{topic}")
    return tuple(scopes)


def normalised(address: str, path: str = "address") -> str:
    """Bring an address, `@domain` for all of a domain, or `role@` for a role anywhere, to the form that is hashed.

    In lower case as a whole: no provider of weight tells local parts apart by case, though RFC 5321 §2.4 lets them.

    Raises: InputError: it is neither.
    """
    text = address.strip()
    if text.startswith("@"):
        return "@" + parse_domain(text[1:], path)
    if text.endswith("@"):
        if text[:-1].lower() not in ROLES:
            mend = "roles are abuse@, postmaster@ and the like: `veredus suppression add --roles`"
            raise InputError(
                f"{text[:64]!r} is neither an address nor a role", Place(path=path), mend
            )
        return text.lower()
    return str(parse_mailbox(text, path)).lower()


class Hasher:
    """Hashes addresses with the key of this deployment, so that a list that leaks tells nobody who is on it.

    HMAC-SHA256 (RFC 2104), cut to 128 bits. Without the key the hash of a guessed address can't be computed. With it
    an address may also be sealed (AES-SIV, RFC 5297), for those who export the list; the hash alone is what is used.
    """

    __slots__ = ("_key", "_siv")

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"a key has at least {KEY_BYTES_MIN} bytes")
        self._key = sha256(_CONTEXT + key).digest()
        self._siv = AESSIV(sha256(_CONTEXT + b"seal" + key).digest())

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "Hasher()"

    def of(self, address: str) -> bytes:
        """Hash an address that is normalised, or that a contact is sent mail at (which lower case makes so)."""
        return hmac_digest(self._key, address.lower().encode(), "sha256")[:DIGEST_BYTES]

    def seal(self, address: str) -> bytes:
        """Encrypt an address for the list's owner."""
        return self._siv.encrypt(address.encode(), [_CONTEXT])

    def unseal(self, sealed: bytes) -> str:
        """Read a sealed address; "" for one that isn't of this key."""
        if not sealed:
            return ""
        try:
            return self._siv.decrypt(sealed, [_CONTEXT]).decode()
        except (InvalidTag, ValueError):
            return ""
