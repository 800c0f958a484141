"""Who runs a domain's mailboxes, as far as its name says: for counting, not for delivering.

Delivery knows better (the MX site); a rate by domain alone would spread one provider's opinion over its many domains.
"""

from __future__ import annotations

__all__ = ("names_of", "provider_of")

_PROVIDERS: dict[str, tuple[str, ...]] = {
    "google": ("gmail.com", "googlemail.com"),
    "microsoft": ("outlook.*", "hotmail.*", "live.*", "msn.com", "passport.com"),
    "yahoo": ("yahoo.*", "ymail.com", "rocketmail.com", "aol.*", "aim.com", "verizon.net"),
    "apple": ("icloud.com", "me.com", "mac.com"),
    "gmx": ("gmx.*", "web.de", "mail.com", "1und1.de"),
    "telekom": ("t-online.de", "magenta.de"),
    "orange": ("orange.fr", "wanadoo.fr", "voila.fr"),
    "free": ("free.fr", "aliceadsl.fr"),
    "laposte": ("laposte.net",),
    "sfr": ("sfr.fr", "neuf.fr", "cegetel.net", "numericable.fr"),
    "libero": ("libero.it", "virgilio.it", "inwind.it", "iol.it", "blu.it"),
    "comcast": ("comcast.net", "xfinity.com"),
    "att": ("att.net", "sbcglobal.net", "bellsouth.net"),
    "mailru": ("mail.ru", "bk.ru", "inbox.ru", "list.ru", "internet.ru"),
    "yandex": ("yandex.*", "ya.ru"),
    "zoho": ("zoho.com", "zohomail.com"),
    "proton": ("proton.me", "protonmail.com", "pm.me"),
    "tencent": ("qq.com", "foxmail.com"),
    "netease": ("163.com", "126.com", "yeah.net"),
    "naver": ("naver.com",),
    "docomo": ("docomo.ne.jp",),
    "au": ("ezweb.ne.jp", "au.com"),
    "softbank": ("softbank.ne.jp", "i.softbank.jp"),
}
_EXACT = {
    name: provider
    for provider, names in _PROVIDERS.items()
    for name in names
    if not name.endswith(".*")
}
_BRANDS = {
    name.removesuffix(".*"): provider
    for provider, names in _PROVIDERS.items()
    for name in names
    if name.endswith(".*")
}


def names_of(provider: str) -> tuple[str, ...]:
    """Give the domains of a provider that are known by name; a provider that isn't in the table is a domain itself."""
    if provider not in _PROVIDERS:
        return (provider,)
    return tuple(name for name in _PROVIDERS[provider] if not name.endswith(".*"))


def provider_of(domain: str) -> str:
    """Name the provider of a domain, else give the domain itself. At most one label before a public ending counts."""
    domain = domain.lower()
    found = _EXACT.get(domain)
    if found is None:
        brand, dot, rest = domain.partition(".")
        found = _BRANDS.get(brand) if dot and len(rest) <= 6 else None  # com, de, co.uk, com.br
    return found or domain
