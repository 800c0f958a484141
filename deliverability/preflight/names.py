"""Names that pretend: display names with somebody else's address or brand, letters that look like others."""

from __future__ import annotations

__all__ = ("check_names",)

import re
import unicodedata

from deliverability.dns.asking import Asking
from deliverability.dns.names import is_under, query_name, shown
from deliverability.policy.dmarc import organisational_domain
from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes

_MIXABLE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})
_BRANDS = (
    "paypal amazon microsoft apple google facebook instagram netflix ebay dhl fedex ups usps visa mastercard "
    "coinbase binance docusign dropbox linkedin whatsapp revolut klarna allegro"
)
_brand = re.compile(rf"\b({'|'.join(_BRANDS.split())})\b", re.IGNORECASE)
_address = re.compile(r"[^\s<>@\"']{1,64}@((?:[\w-]{1,63}\.){1,8}\w{2,24})")
_turning = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\u00ad]")


def check_names(name: str, domain: str, notes: Notes) -> Asking[None]:
    """Check the display name of From, and the domain as people read it."""
    faults = [*_letters(name), *(yield from _others(name, domain))]
    mixed = [label for label in shown(domain).split(".") if _is_mixed(label)]
    if mixed:
        found = f"the domain mixes alphabets: {', '.join(mixed)}"
        faults.append((found, "use a domain in one alphabet", Verdict.BLOCK))
    for found, mend, weight in faults:
        notes.failed("display-name", name or domain, found, mend, weight)
    if not faults:
        notes.passed("display-name", name or domain, f"of {shown(domain)}")


def _letters(name: str) -> list[tuple[str, str, Verdict]]:
    faults = []
    if _turning.search(name):
        mend = "take out characters that can't be seen"
        faults.append(("characters that are invisible or turn the text round", mend, Verdict.BLOCK))
    mixed = [word for word in re.findall(r"\w+", name) if _is_mixed(word)]
    if mixed:
        found = f"mixes alphabets in {mixed[0]!r}"
        faults.append((found, "write the word in one alphabet", Verdict.BLOCK))
    return faults


def _others(name: str, domain: str) -> Asking[list[tuple[str, str, Verdict]]]:
    faults = []
    for found in list(_address.finditer(name))[:3]:
        other = query_name(found[1])
        if not other or is_under(other, domain) or is_under(domain, other):
            continue
        if (yield from organisational_domain(other)) != (yield from organisational_domain(domain)):
            faults.append(
                (f"shows an address of {other}", "show no address but your own", Verdict.BLOCK)
            )
    brand = _brand.search(name)
    if brand and brand[1].lower() not in domain:
        found_brand = f"names {brand[1]}, the domain doesn't"
        faults.append((found_brand, "name yourself, unless it is yours", Verdict.WARN))
    return faults


def _is_mixed(word: str) -> bool:
    """Whether a word has letters of two alphabets that look alike. Unicode TR 39 §5.1, in small."""
    scripts = {unicodedata.name(char, " ").partition(" ")[0] for char in word if char.isalpha()}
    return len(scripts & _MIXABLE) > 1
