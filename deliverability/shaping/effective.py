"""Effective limits: sections laid over each other in one order, with the line that set each value.

The order is KumoMTA's: default, provider, provider and source, site (`mx_rollup` on), domain (off), site and source,
domain and source; inside each of these the order of the files; the later one wins, and `replace_base = true` drops
what came before. KumoMTA docs/userguide/trafficshaping.
"""

from __future__ import annotations

__all__ = (
    "EffectiveLimits",
    "EffectiveSetting",
    "applying_sections",
    "explain",
    "matching_providers",
    "site_key",
)

from collections.abc import Mapping, Sequence

import msgspec

from deliverability.shaping.quantities import ConnectionLimit, Throttle
from deliverability.shaping.rules import (
    AutomationRule,
    OptionValue,
    RuleSet,
    Section,
    SectionKind,
    Setting,
)
from engine.errors import Place


class EffectiveSetting(msgspec.Struct, frozen=True):
    """A value that holds, who set it, and whose values it hides (oldest first)."""

    name: str
    value: OptionValue
    place: Place
    section: str
    hides: tuple[Place, ...] = ()


class EffectiveLimits(msgspec.Struct, frozen=True):
    """All that holds for mail to a domain from a source."""

    domain: str
    site: str
    source: str
    providers: tuple[str, ...]
    sections: tuple[str, ...]
    settings: tuple[EffectiveSetting, ...]
    automation: tuple[AutomationRule, ...]

    def setting(self, name: str) -> EffectiveSetting | None:
        """Return the setting of that name, if any section sets it."""
        return next((each for each in self.settings if each.name == name), None)

    def connections(self) -> int | None:
        """Return the smaller of the site's and the provider's connection limit."""
        found = [self.setting("connection_limit"), self.setting("provider_connection_limit")]
        limits = [
            each.value.limit for each in found if each and isinstance(each.value, ConnectionLimit)
        ]
        return min(limits) if limits else None

    def throttle(self, name: str) -> Throttle | None:
        """Return a rate such as `max_message_rate`, the slower of it and the provider's."""
        rates = [
            each.value
            for each in (self.setting(name), self.setting(name.replace("max_", "provider_max_")))
            if each and isinstance(each.value, Throttle)
        ]
        if len(rates) == 2:
            return rates[1] if rates[0].is_looser_than(rates[1]) else rates[0]
        return rates[0] if rates else None

    def count(self, name: str) -> int | None:
        """Return a count such as `max_deliveries_per_connection`."""
        found = self.setting(name)
        return found.value if found and isinstance(found.value, int) else None


def site_key(mx_hosts: Sequence[str]) -> str:
    """Name the site that a set of MX hosts is: the same hosts in any order and case are the same site."""
    return ",".join(sorted({host.rstrip(".").lower() for host in mx_hosts}))


def _matches_provider(section: Section, domain: str, hosts: Sequence[str]) -> bool:
    """Tell whether the domain matches by name, or *every* MX host matches some entry."""
    if any(match.matches_domain(domain) for match in section.matches):
        return True
    return bool(hosts) and all(
        any(match.matches_host(host) for match in section.matches) for host in hosts
    )


def matching_providers(rules: RuleSet, domain: str, mx_hosts: Sequence[str]) -> tuple[str, ...]:
    """Name the providers whose match list (in any file) covers the domain."""
    hosts = [host.rstrip(".").lower() for host in mx_hosts]
    names: dict[str, None] = {}
    for section in rules.sections():
        if section.kind is SectionKind.PROVIDER and _matches_provider(section, domain, hosts):
            names[section.name] = None
    return tuple(names)


def _layer(section: Section) -> int:
    order = {
        (SectionKind.DEFAULT, False): 0,
        (SectionKind.DEFAULT, True): 1,
        (SectionKind.PROVIDER, False): 2,
        (SectionKind.PROVIDER, True): 3,
        (SectionKind.SITE, False): 4,
        (SectionKind.DOMAIN, False): 5,
        (SectionKind.SITE, True): 6,
        (SectionKind.DOMAIN, True): 7,
    }
    return order[section.kind, bool(section.source)]


def applying_sections(
    rules: RuleSet,
    domain: str,
    mx_hosts: Sequence[str],
    source: str = "",
    known_sites: Mapping[str, str] | None = None,
) -> tuple[Section, ...]:
    """Return the sections that apply, in the order in which they are laid over each other.

    Args:
        rules: all files.
        domain: the recipient's domain.
        mx_hosts: its MX hosts, as resolved by the caller; may be empty.
        source: the name of the outbound source; empty leaves sections for single sources out.
        known_sites: the site key of each domain that rules name, as far as the caller has resolved them. A rule for
            one domain then holds for all domains of its site; without it only for that domain.
    """
    domain = domain.rstrip(".").lower()
    site = site_key(mx_hosts)
    providers = matching_providers(rules, domain, mx_hosts)
    sites = known_sites or {}

    def applies(section: Section) -> bool:
        if section.source and section.source != source:
            return False
        match section.kind:
            case SectionKind.DEFAULT:
                return True
            case SectionKind.PROVIDER:
                return section.name in providers
            case SectionKind.SITE:
                return section.name == domain or bool(site and sites.get(section.name) == site)
            case SectionKind.DOMAIN:
                return section.name == domain

    return tuple(sorted(filter(applies, rules.sections()), key=_layer))


def explain(
    rules: RuleSet,
    domain: str,
    mx_hosts: Sequence[str],
    source: str = "",
    known_sites: Mapping[str, str] | None = None,
) -> EffectiveLimits:
    """Say which limits hold for a domain from a source, and which line of which file set each.

    Arguments are those of `applying_sections`.
    """
    sections = applying_sections(rules, domain, mx_hosts, source, known_sites)
    settings: dict[str, EffectiveSetting] = {}
    automation: list[AutomationRule] = []
    for section in sections:
        if section.replace_base:
            settings.clear()
            automation.clear()
        for setting in section.settings:
            settings[setting.name] = _lay_over(settings.get(setting.name), setting, section)
        automation += section.automation
    return EffectiveLimits(
        domain=domain,
        site=site_key(mx_hosts),
        source=source,
        providers=matching_providers(rules, domain.rstrip(".").lower(), mx_hosts),
        sections=tuple(section.title() for section in sections),
        settings=tuple(sorted(settings.values(), key=lambda each: each.name)),
        automation=tuple(automation),
    )


def _lay_over(
    below: EffectiveSetting | None, setting: Setting, section: Section
) -> EffectiveSetting:
    hides = () if below is None else (*below.hides, below.place)
    return EffectiveSetting(setting.name, setting.value, setting.place, section.title(), hides)
