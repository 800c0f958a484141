"""What a shaping rule is: sections with options and automation, each part with the line that says it.

A file has sections: `default`, one for each provider (which matches by MX or domain), one for each domain (which
means its site, unless `mx_rollup = false`), and inside each of them one for each source. They are laid over each
other in a fixed order; see `effective`.
"""

from __future__ import annotations

__all__ = (
    "ActionKind",
    "AutomationAction",
    "AutomationRule",
    "BounceClassRule",
    "Duration",
    "Evidence",
    "MatchKind",
    "MxMatch",
    "OptionValue",
    "RuleFile",
    "RuleSet",
    "Section",
    "SectionKind",
    "Setting",
)

import enum

import msgspec

from deliverability.shaping.quantities import ConnectionLimit, Threshold, Throttle
from engine.errors import Place


class Duration(msgspec.Struct, frozen=True):
    """A duration, apart from a bare number so that reports show its unit."""

    ms: int


OptionValue = Throttle | ConnectionLimit | Duration | int | bool | str | tuple[tuple[str, str], ...]
"""What an option can be; the pairs are named limits (name, as written) or lists."""


class SectionKind(enum.Enum):
    """What a section is about, in the order in which sections are laid over each other."""

    DEFAULT = "default"
    PROVIDER = "provider"
    SITE = "site"
    DOMAIN = "domain"


class MatchKind(enum.Enum):
    """How an entry of a provider's match list matches; `Domain` is ours, the others are KumoMTA's."""

    MX_SUFFIX = "MXSuffix"
    DOMAIN_SUFFIX = "DomainSuffix"
    HOST_NAME = "HostName"
    DOMAIN = "Domain"


class MxMatch(msgspec.Struct, frozen=True):
    """One entry of a provider's match list."""

    kind: MatchKind
    value: str
    place: Place

    def matches_host(self, host: str) -> bool:
        """Tell whether an MX host (lower case, no trailing dot) matches.

        The configured value is compared as written, as KumoMTA does: a suffix that ends in a dot matches nothing,
        and `check` says so.
        """
        if self.kind is MatchKind.MX_SUFFIX:
            return host.endswith(self.value)
        return self.kind is MatchKind.HOST_NAME and host == self.value

    def matches_domain(self, domain: str) -> bool:
        """Tell whether a recipient's domain (lower case) matches."""
        if self.kind is MatchKind.DOMAIN_SUFFIX:
            return domain.endswith(self.value)
        return self.kind is MatchKind.DOMAIN and domain == self.value


class Evidence(msgspec.Struct, frozen=True):
    """Why a rule is believed: where it was read, when, and until when it may be trusted (ISO dates)."""

    source: str
    seen: str
    expires: str
    place: Place


class ActionKind(enum.Enum):
    """What an automation rule does when it fires."""

    SUSPEND = "Suspend"
    SET_CONFIG = "SetConfig"
    SET_DOMAIN_CONFIG = "SetDomainConfig"
    SUSPEND_TENANT = "SuspendTenant"
    SUSPEND_CAMPAIGN = "SuspendCampaign"
    BOUNCE = "Bounce"
    BOUNCE_TENANT = "BounceTenant"
    BOUNCE_CAMPAIGN = "BounceCampaign"


class AutomationAction(msgspec.Struct, frozen=True):
    """One action; `option` and `value` are set for the two that change a configuration."""

    kind: ActionKind
    option: str = ""
    value: OptionValue = ""

    def __str__(self) -> str:
        """Render such as `SetConfig connection_limit=1`."""
        return f"{self.kind.value} {self.option}={self.value}" if self.option else self.kind.value


class AutomationRule(msgspec.Struct, frozen=True):
    """Patterns of replies, how many of them it takes, and what then holds for how long."""

    patterns: tuple[str, ...]
    trigger: Threshold
    actions: tuple[AutomationAction, ...]
    duration_ms: int
    match_internal: bool
    evidence: Evidence | None
    place: Place
    pattern_places: tuple[Place, ...]


class Setting(msgspec.Struct, frozen=True):
    """An option as one line of one file sets it."""

    name: str
    value: OptionValue
    place: Place


class Section(msgspec.Struct, frozen=True):
    """One section of a file. `source` is empty unless it is for one source alone."""

    kind: SectionKind
    name: str
    source: str
    replace_base: bool
    matches: tuple[MxMatch, ...]
    settings: tuple[Setting, ...]
    automation: tuple[AutomationRule, ...]
    evidence: Evidence | None
    place: Place

    def title(self) -> str:
        """Name the section as a reader would, such as `provider google, source a1`."""
        head = (
            self.kind.value
            if self.kind is SectionKind.DEFAULT
            else f"{self.kind.value} {self.name}"
        )
        return f"{head}, source {self.source}" if self.source else head


class BounceClassRule(msgspec.Struct, frozen=True):
    """A pattern of a bounce classifier's file (`[rules]`), and the class that it assigns."""

    bounce_class: str
    pattern: str
    place: Place


class RuleFile(msgspec.Struct, frozen=True):
    """All rules of one file, in the order of the file."""

    file: str
    sections: tuple[Section, ...] = ()
    bounce_classes: tuple[BounceClassRule, ...] = ()


class RuleSet(msgspec.Struct, frozen=True):
    """Files laid over each other: later ones win."""

    files: tuple[RuleFile, ...]

    def sections(self) -> tuple[Section, ...]:
        """Return all sections, in the order of the files."""
        return tuple(section for file in self.files for section in file.sections)
