"""Find rules that can't do what they say: dead, shadowed, overlapping, never matching, out of date.

*Dead* is proved: no reply, host or domain can ever reach the rule. *Shadowed* is proved too: another rule with the
same scope always fires no later, does at least as much and lasts at least as long. *Overlapping* has a witness, a
text that both rules match though they do different things. *Suspicious* says what the author most likely meant.
"""

from __future__ import annotations

__all__ = ("Finding", "FindingKind", "check_rules")

import enum
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import msgspec

from deliverability.shaping.options import OPTIONS, nearest_names
from deliverability.shaping.patterns import Pattern, compile_pattern, covers
from deliverability.shaping.quantities import ConnectionLimit, Throttle
from deliverability.shaping.rules import (
    ActionKind,
    AutomationAction,
    AutomationRule,
    BounceClassRule,
    Evidence,
    MatchKind,
    MxMatch,
    RuleSet,
    Section,
    SectionKind,
)
from engine.errors import Place

PAIRS_MAX = 200_000


class FindingKind(enum.Enum):
    """What is wrong; the order is that of gravity."""

    DEAD = "dead"
    SHADOWED = "shadowed"
    OVERLAPPING = "overlapping"
    LOOSENS = "loosens"
    NEVER_BINDS = "never-binds"
    SUSPICIOUS = "suspicious"
    EXPIRED = "expired"
    NEVER_MATCHED = "never-matched"
    NO_EFFECT = "no-effect"


class Finding(msgspec.Struct, frozen=True):
    """One finding: where, what, and how to mend it; `other` is the second rule, where there is one."""

    kind: FindingKind
    place: Place
    message: str
    mend: str
    other: Place | None = None

    def __str__(self) -> str:
        """One line: place, kind, message, mend."""
        other = f" [{self.other.file}:{self.other.line}]" if self.other else ""
        return f"{self.place}: {self.kind.value}: {self.message}{other} ({self.mend})"


class _Scoped(msgspec.Struct, frozen=True):
    """An automation rule with the section that holds it."""

    section: Section
    rule: AutomationRule
    patterns: tuple[Pattern, ...]


def check_rules(rules: RuleSet, today: str, replies: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Check files that are used together.

    Args:
        rules: all files, in the order in which they are laid over each other.
        today: ISO date for the expiry of evidence.
        replies: real replies; patterns that match none of them are then named too.
    """
    sections = rules.sections()
    scoped = [
        _Scoped(section, rule, tuple(map(compile_pattern, rule.patterns)))
        for section in sections
        for rule in section.automation
    ]
    findings = [
        *_dead_providers(sections),
        *_overlapping_providers(sections),
        *(finding for each in scoped for finding in _pattern_findings(each)),
        *_pairs(scoped),
        *_settings(sections),
        *(finding for each in scoped for finding in _loosening(each, sections)),
        *_expired(sections, today),
        *_bounce_classes([rule for file in rules.files for rule in file.bounce_classes]),
        *_never_matched(scoped, replies),
    ]
    order = list(FindingKind)
    findings.sort(key=lambda each: (order.index(each.kind), each.place.file, each.place.line))
    return tuple(dict.fromkeys(findings))


def _match_flaw(match: MxMatch) -> str:
    """Say why an entry of a match list can never match, or nothing."""
    hosts = (MatchKind.MX_SUFFIX, MatchKind.HOST_NAME)
    if match.value.endswith("."):
        what = "host" if match.kind in hosts else "domain"
        return f"{match.kind.value} {match.value!r} ends in a dot, and the {what} is compared without one"
    if any(char in match.value for char in " *\\/@"):
        return f"{match.kind.value} {match.value!r} has a character that no host name has"
    return ""


def _dead_providers(sections: Sequence[Section]) -> Iterator[Finding]:
    providers: dict[str, list[Section]] = {}
    for section in sections:
        if section.kind is SectionKind.PROVIDER:
            providers.setdefault(section.name, []).append(section)
    with_match = {
        name: " ".join((name, *(match.value for each in parts for match in each.matches)))
        for name, parts in providers.items()
        if any(each.matches for each in parts)
    }
    for name, parts in providers.items():
        yield from _dead_matches(parts)
        if name not in with_match:
            yield from _without_match(name, parts, with_match)


def _without_match(
    name: str, parts: Sequence[Section], with_match: dict[str, str]
) -> Iterator[Finding]:
    """Name each rule of a provider that has no match list in any file: such a provider matches nothing."""
    words = {word: known for known, text in with_match.items() for word in _words(text)}
    alike = [word for word in words if word[0] == name[:1]]
    like = nearest_names(name, alike)
    mend = f"did you mean provider.{words[like]!r}?" if like else "add match = [...] to it"
    message = f"provider {name!r} has no match list in any file, so it matches no mail"
    for section in parts:
        places = [rule.place for rule in section.automation] or [section.place]
        for place in places:
            yield Finding(FindingKind.DEAD, place, message, mend)


def _words(text: str) -> list[str]:
    return [word for word in text.replace(".", " ").split() if len(word) > 4]


def _dead_matches(parts: Sequence[Section]) -> Iterator[Finding]:
    matches = [match for section in parts for match in section.matches]
    flawed = [(match, flaw) for match in matches if (flaw := _match_flaw(match))]
    whole = len(flawed) == len(matches)
    for match, flaw in flawed:
        tail = "; nothing in this provider ever applies" if whole else ""
        mend = (
            f"write {match.value.rstrip('.')!r}"
            if match.value.endswith(".")
            else "correct the name"
        )
        yield Finding(FindingKind.DEAD, match.place, flaw + tail, mend)
    for match in matches:
        suffix = match.kind in (MatchKind.MX_SUFFIX, MatchKind.DOMAIN_SUFFIX)
        if suffix and not match.value.startswith("."):
            yield Finding(
                FindingKind.SUSPICIOUS,
                match.place,
                f"the suffix {match.value!r} has no leading dot, so x{match.value} matches too",
                f"write '.{match.value}'",
            )


def _overlapping_providers(sections: Sequence[Section]) -> Iterator[Finding]:
    """Find hosts that two providers claim: their limits would be mixed, in the order of the files."""
    entries = [
        (section, match)
        for section in sections
        if section.kind is SectionKind.PROVIDER
        for match in section.matches
        if not _match_flaw(match)
    ]
    for (first, one), (second, two) in combinations(entries[:2_000], 2):
        if first.name != second.name and _same_hosts(one, two):
            yield Finding(
                FindingKind.OVERLAPPING,
                two.place,
                f"{two.value!r} of provider {second.name!r} and {one.value!r} of {first.name!r} match the same mail",
                "make the suffixes distinct, or merge the providers",
                one.place,
            )


def _same_hosts(one: MxMatch, two: MxMatch) -> bool:
    of_hosts = (MatchKind.MX_SUFFIX, MatchKind.HOST_NAME)
    if (one.kind in of_hosts) != (two.kind in of_hosts):
        return False
    exact = (MatchKind.HOST_NAME, MatchKind.DOMAIN)
    if one.kind in exact and two.kind in exact:
        return one.value == two.value
    if one.kind in exact:
        return one.value.endswith(two.value)
    if two.kind in exact:
        return two.value.endswith(one.value)
    return one.value.endswith(two.value) or two.value.endswith(one.value)


def _pattern_findings(scoped: _Scoped) -> Iterator[Finding]:
    for pattern, place in zip(scoped.patterns, scoped.rule.pattern_places, strict=True):
        if pattern.wants_backslash:
            yield Finding(
                FindingKind.DEAD,
                place,
                f"the pattern {pattern.source!r} looks for a literal backslash, which no reply has",
                "halve the backslashes: in a literal TOML string ('...') they need no doubling",
            )
        if "\n" in pattern.source:
            yield Finding(
                FindingKind.DEAD,
                place,
                "the pattern looks for a line break, but a reply is matched as one line",
                "write .* or a space instead",
            )
        if pattern.lone_star:
            yield Finding(
                FindingKind.SUSPICIOUS,
                place,
                f"in {pattern.source!r} the star repeats one letter: {pattern.lone_star!r}",
                "write .* if anything may follow",
            )
        if not pattern.samples and pattern.floats:
            yield Finding(
                FindingKind.SUSPICIOUS,
                place,
                f"no text was found that {pattern.source!r} matches",
                "try it with `veredus shaping replay`",
            )


def _same_scope(wide: Section, narrow: Section) -> bool:
    """Tell whether whatever the narrow section applies to, the wide one applies to as well."""
    if wide.kind is SectionKind.DEFAULT:
        return wide.source in ("", narrow.source)
    same = wide.kind is narrow.kind and wide.name == narrow.name
    return same and wide.source in ("", narrow.source)


def _pairs(scoped: Sequence[_Scoped]) -> Iterator[Finding]:
    for count, (one, two) in enumerate(combinations(scoped, 2)):
        if count >= PAIRS_MAX:
            return
        if _same_scope(one.section, two.section) or _same_scope(two.section, one.section):
            yield from _pair(one, two)


def _pair(one: _Scoped, two: _Scoped) -> Iterator[Finding]:
    for wide, narrow in ((one, two), (two, one)):
        if _same_scope(wide.section, narrow.section) and _shadows(wide, narrow):
            yield Finding(
                FindingKind.SHADOWED,
                narrow.rule.place,
                f"whatever {_show(narrow)} matches, {_show(wide)} matches, "
                f"no later, with as much effect ({_effect(wide.rule)})",
                "remove it, or make it stricter or longer",
                wide.rule.place,
            )
            return
    witness = _witness(one, two)
    if witness and _effect(one.rule) != _effect(two.rule):
        yield Finding(
            FindingKind.OVERLAPPING,
            two.rule.place,
            f"{witness!r} fires both: {_effect(one.rule)}; {_effect(two.rule)}",
            "decide which one is meant, and narrow the other pattern",
            one.rule.place,
        )


def _show(scoped: _Scoped) -> str:
    more = f" (and {len(scoped.patterns) - 1} more)" if len(scoped.patterns) > 1 else ""
    return f"{scoped.patterns[0].source!r}{more}"


def _effect(rule: AutomationRule) -> str:
    minutes = rule.duration_ms // 60_000
    return f"{', '.join(map(str, rule.actions))} at {rule.trigger} for {minutes} min"


def _shadows(wide: _Scoped, narrow: _Scoped) -> bool:
    one, two = wide.rule, narrow.rule
    sooner = one.trigger.count <= two.trigger.count and (
        one.trigger.count <= 1 or one.trigger.period_ms >= two.trigger.period_ms
    )
    if not sooner or one.duration_ms < two.duration_ms:
        return False
    if two.match_internal and not one.match_internal:
        return False
    if not all(any(_does_more(a, b) for a in one.actions) for b in two.actions):
        return False
    return all(any(covers(a, b) for a in wide.patterns) for b in narrow.patterns)


def _does_more(one: AutomationAction, two: AutomationAction) -> bool:
    """Tell whether one action makes the other pointless while it holds."""
    if one == two:
        return True
    if one.kind is ActionKind.SUSPEND:
        return two.kind in (
            ActionKind.SET_CONFIG,
            ActionKind.SUSPEND_TENANT,
            ActionKind.SUSPEND_CAMPAIGN,
        )
    if one.kind is not ActionKind.SET_CONFIG or two.kind is not ActionKind.SET_CONFIG:
        return False
    return one.option == two.option and _is_looser(two.value, one.value) is True


def _witness(one: _Scoped, two: _Scoped) -> str:
    """Return a text that both rules match, if a sample of either shows one."""
    for left in one.patterns:
        for right in two.patterns:
            for text in left.samples + right.samples:
                if left.found_in(text) and right.found_in(text):
                    return text[:120]
    return ""


def _is_looser(value: object, than: object) -> bool | None:
    """Tell whether a limit allows more than another; `None` if they can't be compared."""
    if isinstance(value, Throttle) and isinstance(than, Throttle):
        return value.is_looser_than(than)
    if isinstance(value, ConnectionLimit) and isinstance(than, ConnectionLimit):
        return value.limit > than.limit
    if type(value) is int and type(than) is int:
        return value > than
    return None


def _settings(sections: Sequence[Section]) -> Iterator[Finding]:
    """Find settings that a later file always overrides, that never bind, or that we don't act on."""
    seen: dict[tuple[SectionKind, str, str, str], Place] = {}
    for section in sections:
        values = {setting.name: setting for setting in section.settings}
        for setting in section.settings:
            key = (section.kind, section.name, section.source, setting.name)
            if key in seen:
                yield Finding(
                    FindingKind.SHADOWED,
                    seen[key],
                    f"{setting.name} of {section.title()} is always overridden by a later file",
                    "remove one of the two",
                    setting.place,
                )
            seen[key] = setting.place
            if not OPTIONS[setting.name].honoured:
                yield Finding(
                    FindingKind.NO_EFFECT,
                    setting.place,
                    f"{setting.name} is accepted, but changes nothing in Veredus",
                    "leave it for KumoMTA, or remove it",
                )
            whole = values.get(f"provider_{setting.name.removeprefix('max_')}") or values.get(
                f"provider_{setting.name}"
            )
            if whole and _is_looser(setting.value, whole.value):
                yield Finding(
                    FindingKind.NEVER_BINDS,
                    setting.place,
                    f"{setting.name} {setting.value} is above {whole.name} {whole.value}",
                    "lower it, or remove it",
                    whole.place,
                )


def _loosening(scoped: _Scoped, sections: Sequence[Section]) -> Iterator[Finding]:
    """Find actions that are meant to slow down but allow more than holds without them."""
    for action in scoped.rule.actions:
        if action.kind is not ActionKind.SET_CONFIG:
            continue
        below = [
            setting
            for section in sections
            if _same_scope(section, scoped.section)
            for setting in section.settings
            if setting.name == action.option
        ]
        if below and _is_looser(action.value, below[-1].value):
            yield Finding(
                FindingKind.LOOSENS,
                scoped.rule.place,
                f"{action} allows more than {below[-1].name} {below[-1].value}, which holds without it",
                "set a lower value",
                below[-1].place,
            )


def _expired(sections: Sequence[Section], today: str) -> Iterator[Finding]:
    for section in sections:
        found: list[Evidence | None] = [section.evidence, *(r.evidence for r in section.automation)]
        for evidence in found:
            if evidence is not None and evidence.expires < today:
                yield Finding(
                    FindingKind.EXPIRED,
                    evidence.place,
                    f"the evidence for {section.title()} ({evidence.source}) expired on {evidence.expires}",
                    "look at the source again, and set seen and expires anew",
                )


def _bounce_classes(rules: Sequence[BounceClassRule]) -> Iterator[Finding]:
    """Find classes that can't be reached: the first pattern that matches decides."""
    compiled = [(rule, compile_pattern(rule.pattern)) for rule in rules[:2_000]]
    for rule, pattern in compiled:
        if pattern.wants_backslash:
            yield Finding(
                FindingKind.DEAD,
                rule.place,
                "the pattern looks for a literal backslash",
                "halve them",
            )
    for (first, wide), (second, narrow) in combinations(compiled, 2):
        if covers(wide, narrow):
            yield Finding(
                FindingKind.SHADOWED,
                second.place,
                f"{second.pattern!r} ({second.bounce_class}) is never reached: "
                f"{first.pattern!r} ({first.bounce_class}) matches first",
                "move it up, or remove it",
                first.place,
            )


def _never_matched(scoped: Sequence[_Scoped], replies: Iterable[str]) -> Iterator[Finding]:
    texts = list(replies)
    if not texts:
        return
    for each in scoped:
        for pattern, place in zip(each.patterns, each.rule.pattern_places, strict=True):
            if not any(pattern.found_in(text) for text in texts):
                yield Finding(
                    FindingKind.NEVER_MATCHED,
                    place,
                    f"{pattern.source!r} matches none of {len(texts)} real replies",
                    "look for the provider's present wording",
                )
