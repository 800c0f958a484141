"""How names are written: for a question, for people, and an address turned round for PTR."""

from __future__ import annotations

__all__ = ("ancestors", "is_under", "query_name", "reverse_name", "shown")

from ipaddress import ip_address

import idna

_NAME_OCTETS_MAX = 253  # RFC 1035 §2.3.4 as text, without the last dot
_LABEL_OCTETS_MAX = 63


def query_name(name: str) -> str:
    """Bring a name to the form in which it is asked for: lower case, A-labels, no dot at the end.

    Underscores and other ASCII pass (RFC 2181 §11). "" when it can't be a name: too long, an empty label,
    no IDN.
    """
    name = name.removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return ""
    if not name or len(name) > _NAME_OCTETS_MAX:
        return ""
    if any(not 0 < len(label) <= _LABEL_OCTETS_MAX for label in name.split(".")):
        return ""
    return name.lower()


def reverse_name(address: str) -> str:
    """Give the name whose PTR an address has. RFC 1035 §3.5, RFC 3596 §2.5.

    Raises:
        ValueError: not an IP address.
    """
    return ip_address(address).reverse_pointer


def shown(name: str) -> str:
    """Show a name with its U-labels, where they say what the A-labels say."""
    if "xn--" not in name:
        return name
    try:
        return idna.decode(name)
    except (idna.IDNAError, UnicodeError):
        return name


def is_under(name: str, domain: str) -> bool:
    """Tell whether a name is a domain, or below it."""
    return name == domain or name.endswith(f".{domain}")


def ancestors(name: str) -> list[str]:
    """A name and those above it, without the root, the longest first."""
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]
