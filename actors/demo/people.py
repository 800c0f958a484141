"""People who don't exist, with names from several languages, at domains that only twins serve."""

from __future__ import annotations

__all__ = ("DOMAINS", "person")

import random
import unicodedata

DOMAINS = {
    "gmail.test": 38,
    "outlook.test": 20,
    "wp.test": 12,
    "yahoo.test": 9,
    "onet.test": 7,
    "grey.test": 6,
    "flaky.test": 4,
    "orchard.test": 4,
}
"""Domains of the contacts, with how many of a hundred have them."""

_FIRST = [
    "Zoë",
    "Ada",
    "Ines",
    "Maya",
    "Łucja",
    "Chloé",
    "Freya",
    "Jana",
    "Nora",
    "Agnieszka",
    "Siân",
    "Noah",
    "Omar",
    "Łukasz",
    "Théo",
    "Jürgen",
    "Mateo",
    "Søren",
    "Tomáš",
    "Emil",
    "Björn",
    "Ravi",
]
_LAST = [
    "Kowalska",
    "Meyer",
    "Okafor",
    "García",
    "Novák",
    "Lindqvist",
    "Rossi",
    "Dubois",
    "Żak",
    "Müller",
    "Hansen",
    "Patel",
    "O'Brien",
    "Wójcik",
    "Fischer",
    "Silva",
    "Horváth",
    "Brown",
    "Ito",
    "Núñez",
]
_ZONES = {"Europe/Warsaw": 40, "Europe/Berlin": 25, "Europe/Paris": 20, "Europe/London": 15}
_LETTERS = str.maketrans({"ł": "l", "Ł": "l", "ø": "o", "ß": "ss", "'": ""})


def person(draw: random.Random, number: int) -> dict[str, str]:
    """Draw the attributes of a contact; `number` keeps addresses apart."""
    first, last = draw.choice(_FIRST), draw.choice(_LAST)
    (domain,) = draw.choices(list(DOMAINS), list(DOMAINS.values()))
    (zone,) = draw.choices(list(_ZONES), list(_ZONES.values()))
    return {
        "email": f"{_plain(first)}.{_plain(last)}{number + 1}@{domain}",
        "name": f"{first} {last}",
        "first_name": first,
        "timezone": zone,
    }


def _plain(name: str) -> str:
    """Write a name in ASCII, as people do in addresses."""
    parts = unicodedata.normalize("NFKD", name.translate(_LETTERS).lower())
    return parts.encode("ascii", "ignore").decode()
