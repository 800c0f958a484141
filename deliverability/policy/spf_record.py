"""SPF records taken to pieces, and their macros expanded: RFC 7208 §4.6.1, §7, §12. `spf` evaluates them.

A record is a list of terms: mechanisms with a qualifier (`-all`, `ip4:192.0.2.0/24`, `a:%{d}/24//64`), and
modifiers (`redirect=`, `exp=`). One term that is wrong makes the whole record a permerror (§4.6).
"""

from __future__ import annotations

__all__ = (
    "Mechanism",
    "Qualifier",
    "SpfRecord",
    "Values",
    "expand",
    "is_spf",
    "macro_letters",
    "parse_spf",
)

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TypeAlias
from urllib.parse import quote

import msgspec

from deliverability.policy.tags import RECORD_OCTETS_MAX, Mistake

_TERMS_MAX = 500
_NAME_MAX = 253  # §7.3


class Qualifier(StrEnum):
    """What a match means. §4.6.2."""

    PASS = "+"  # noqa: S105 (RFC 7208's word, no password)
    FAIL = "-"
    SOFTFAIL = "~"
    NEUTRAL = "?"


class Mechanism(msgspec.Struct, frozen=True):
    """One mechanism. `spec` is its domain, macros unexpanded, or of ip4 and ip6 its address; "" if none."""

    qualifier: Qualifier
    name: str
    spec: str
    prefix4: int
    prefix6: int
    text: str


class SpfRecord(msgspec.Struct, frozen=True):
    """A record that is right in form."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str
    exp: str
    text: str


Values: TypeAlias = Mapping[str, str]
"""What the letters of macros stand for: s l o d i p v h (§7.2)."""

_LITERAL = r"[!-$&-~]"  # %x21-24 / %x26-7E
_EXPAND = r"%(?:[%_-]|\{[slodiphcrtvSLODIPHCRTV][0-9]*[rR]?[.\-+,/_=]*\})"
_MACRO_STRING = re.compile(rf"(?:{_LITERAL}|{_EXPAND})*")
# §7.1: a domain-spec ends in a label that isn't all digits, or in a macro; underscores pass as in names in use.
_DOMAIN_END = re.compile(
    rf"(?:.*\.(?=[^.]*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?|.*{_EXPAND})\Z"
)
_TERM = re.compile(r"([+\-?~]?)([A-Za-z][A-Za-z0-9_.\-]*)([:/=]?)(.*)", re.DOTALL)
_CIDR = re.compile(r"(.*?)(?:/(0|[1-9][0-9]{0,2}))?(?://(0|[1-9][0-9]{0,2}))?\Z", re.DOTALL)
_EXPANSION = re.compile(r"%(?:([%_-])|\{([A-Za-z])([0-9]*)([rR]?)([.\-+,/_=]*)\})")

_WITH_DOMAIN = frozenset({"include", "exists"})  # must have one; a, mx and ptr may
_WITH_CIDR = frozenset({"a", "mx"})
_ONLY_IN_EXP = frozenset("crt")


def is_spf(text: bytes) -> bool:
    """Tell whether a TXT is an SPF record: §4.5, `v=spf1` alone or before a space."""
    head = text[:7].lower()
    return head == b"v=spf1 " or (head == b"v=spf1" and len(text) == 6)


def parse_spf(record: bytes) -> SpfRecord | Mistake:
    """Take a record to pieces; the first wrong term is named."""
    if not is_spf(record):
        return Mistake("doesn't begin with v=spf1")
    if len(record) > RECORD_OCTETS_MAX:
        return Mistake(f"longer than {RECORD_OCTETS_MAX} octets")
    if not record.isascii():
        return Mistake("has characters that aren't ASCII")
    text = record.decode()
    terms = [term for term in text[6:].split(" ") if term]
    if len(terms) > _TERMS_MAX:
        return Mistake(f"more than {_TERMS_MAX} terms")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in terms:
        wrong = _read_term(term, mechanisms, modifiers)
        if wrong:
            return Mistake(f"{term[:80]!r}: {wrong}")
    return SpfRecord(
        tuple(mechanisms), modifiers.get("redirect", ""), modifiers.get("exp", ""), text
    )


def _read_term(term: str, mechanisms: list[Mechanism], modifiers: dict[str, str]) -> str:
    """Add a term to what it belongs to; give what is wrong with it, or ""."""
    found = _TERM.fullmatch(term)
    if found is None:
        return "not a mechanism or modifier"
    qualifier, name, mark, rest = found.groups()
    lower = name.lower()
    if mark == "=":
        return "a modifier has no qualifier" if qualifier else _modifier(lower, rest, modifiers)
    if "." in name or "_" in name:
        return "there is no such mechanism"
    mechanism = _mechanism(Qualifier(qualifier or "+"), lower, mark, rest, term)
    if isinstance(mechanism, str):
        return mechanism
    mechanisms.append(mechanism)
    return ""


def _modifier(name: str, value: str, modifiers: dict[str, str]) -> str:
    if name not in ("redirect", "exp"):
        return "" if _MACRO_STRING.fullmatch(value) else "its value isn't a macro string (§7.1)"
    if name in modifiers:
        return "stands twice (§6)"
    modifiers[name] = value
    return _wrong_spec(value)


def _mechanism(qualifier: Qualifier, name: str, mark: str, rest: str, term: str) -> Mechanism | str:
    if name == "all":
        return "all takes nothing" if mark else Mechanism(qualifier, name, "", 32, 128, term)
    if name in ("ip4", "ip6"):
        return _network(qualifier, name, mark, rest, term)
    if name not in ("a", "mx", "ptr", "include", "exists"):
        return "there is no such mechanism"
    spec, prefix4, prefix6 = "", 32, 128
    tail = f"/{rest}" if mark == "/" else rest
    if mark:
        cidr = _CIDR.fullmatch(tail) if name in _WITH_CIDR else None
        spec = cidr[1] if cidr else tail
        prefix4, prefix6 = (int(cidr[2] or 32), int(cidr[3] or 128)) if cidr else (32, 128)
        if cidr and cidr[2] is not None:
            prefix4 = int(cidr[2])
        if cidr and cidr[3] is not None:
            prefix6 = int(cidr[3])
    if prefix4 > 32 or prefix6 > 128:
        return "a prefix is longer than the address"
    if mark == ":" or spec or name in _WITH_DOMAIN:
        wrong = _wrong_spec(spec)
        if wrong:
            return wrong
    return Mechanism(qualifier, name, spec, prefix4, prefix6, term)


def _network(qualifier: Qualifier, name: str, mark: str, rest: str, term: str) -> Mechanism | str:
    address, slash, length = rest.partition("/")
    bits = 32 if name == "ip4" else 128
    if mark != ":" or not address:
        return f"such as {name}:{'192.0.2.0/24' if bits == 32 else '2001:db8::/32'} is expected"
    if slash and not re.fullmatch("0|[1-9][0-9]{0,2}", length):
        return "the length of the prefix isn't a number"
    prefix = int(length) if slash else bits
    if prefix > bits:
        return f"a prefix has at most {bits} bits"
    try:
        shown = str(IPv4Address(address) if bits == 32 else IPv6Address(address))
    except AddressValueError:
        return f"{address[:60]!r} isn't an IPv{4 if bits == 32 else 6} address"
    return Mechanism(qualifier, name, shown, prefix, prefix, term)


def _wrong_spec(spec: str) -> str:
    """What is wrong with a domain-spec, or "". §7.1."""
    if not spec:
        return "a domain is expected"
    if not _MACRO_STRING.fullmatch(spec):
        return "its domain has a character or a macro that may not be there (§7.1)"
    for macro in _EXPANSION.finditer(spec):
        if macro[2] and macro[2].lower() in _ONLY_IN_EXP:
            return f"the macro {macro[0]} is for exp only (§7.2)"
        if macro[3] and not int(macro[3][:4]):
            return f"the macro {macro[0]} keeps no label (§7.3)"
    if not _DOMAIN_END.match(spec):
        return "its domain doesn't end in a label that could be a top-level domain (§7.1)"
    return ""


def macro_letters(spec: str) -> set[str]:
    """The letters that a domain-spec's macros use."""
    return {found[2].lower() for found in _EXPANSION.finditer(spec) if found[2]}


def expand(spec: str, values: Values) -> str:
    """Expand macros; labels are dropped from the left until 253 octets are left. §7.3."""

    def one(found: re.Match[str]) -> str:
        sign, letter, digits, turned, delimiters = found.groups()
        if sign:
            return {"%": "%", "_": " ", "-": "%20"}[sign]
        parts = re.split(f"[{re.escape(delimiters or '.')}]", values.get(letter.lower(), ""))
        if turned:
            parts.reverse()
        if digits:
            parts = parts[-int(digits[:4]) :]
        text = ".".join(parts)
        return quote(text, safe="-._~") if letter.isupper() else text

    name = _EXPANSION.sub(one, spec).removesuffix(".")
    while len(name) > _NAME_MAX and "." in name:
        name = name.partition(".")[2]
    return name
