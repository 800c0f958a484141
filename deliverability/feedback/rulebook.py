"""The rules that give an SMTP reply its cause: data in `rules/replies.toml`, compiled once, and checked.

A rule has an id, a cause, phrases (any of which must match), phrases that must not (`unless`) and conditions (`when`) on
reply code, enhanced code and stage. Strong rules decide in file order before the table of enhanced codes does, weak ones
(`tier = "weak"`) after it. Each rule carries invented examples which `check` runs, together with a sample of each phrase.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources

import msgspec

from deliverability.feedback.phrases import Phrase, compile_phrase, normalise, sample
from deliverability.feedback.taxonomy import Cause
from engine.errors import ConfigError, Place

__all__ = ("Example", "Finding", "Match", "Rule", "Rulebook", "Tier", "check", "load", "shipped")

Tier = str


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An invented reply that its rule must decide."""

    text: str
    code: str = ""
    enhanced: str = ""
    stage: str = ""


class Rule(msgspec.Struct, frozen=True):
    """One rule, compiled."""

    id: str
    cause: Cause
    weak: bool
    session: bool
    phrases: tuple[Phrase, ...]
    unless: tuple[Phrase, ...]
    codes: tuple[str, ...]
    enhanced: tuple[str, ...]
    stages: tuple[str, ...]
    examples: tuple[Example, ...]


class Match(msgspec.Struct, frozen=True):
    """A rule that decided, and the words that made it."""

    rule: Rule
    words: str


class Finding(msgspec.Struct, frozen=True):
    """One thing wrong with the rules: `dead`, `shadowed` or `wrong-example`."""

    kind: str
    rule: str
    phrase: str
    detail: str


class Rulebook(msgspec.Struct, frozen=True):
    """All rules, in the order in which they decide."""

    strong: tuple[Rule, ...]
    weak: tuple[Rule, ...]
    words: dict[str, str]

    def decide(self, tier: Tier, text: str, code: str, enhanced: str, stage: str) -> Match | None:
        """The first rule of a tier that fits a normalised text; None if none does."""
        seen: dict[tuple[str, ...], bool] = {}
        for rule in self.strong if tier == "strong" else self.weak:
            found = _first(rule.phrases, text, seen)
            if (
                found
                and _applies(rule, code, enhanced, stage)
                and not _first(rule.unless, text, seen)
            ):
                return Match(rule=rule, words=found)
        return None


class _RawRule(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    cause: Cause
    phrases: list[str]
    examples: list[str | Example]
    tier: str = "strong"
    session: bool = False
    unless: list[str] = []
    when: dict[str, list[str]] = {}


class _RawBook(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[_RawRule]
    words: dict[str, str] = {}


def load(text: str, file: str = "replies.toml") -> Rulebook:
    """Compile a rule file.

    Raises:
        ConfigError: the file is not TOML, has unknown keys, an unknown cause, or a phrase that cannot be compiled.
    """
    try:
        raw = msgspec.convert(tomllib.loads(text), _RawBook)
        rules = [_compile(rule, raw.words) for rule in raw.rule]
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError(
            f"The reply rules cannot be read: {error}.",
            Place(file=file),
            "Mend the rule; `veredus feedback rules check` tries them all.",
        ) from error
    return Rulebook(
        strong=tuple(rule for rule in rules if not rule.weak),
        weak=tuple(rule for rule in rules if rule.weak),
        words=raw.words,
    )


@lru_cache(maxsize=1)
def shipped() -> Rulebook:
    """The rules that Veredus ships, compiled on first use."""
    file = resources.files("deliverability.feedback") / "rules" / "replies.toml"
    return load(file.read_text(encoding="utf-8"))


def check(book: Rulebook) -> Iterator[Finding]:
    """Find dead and shadowed phrases and examples that another rule decides."""
    for rule in (*book.strong, *book.weak):
        for phrase in rule.phrases:
            yield from _check_phrase(book, rule, phrase)
        for example in rule.examples:
            got = _decide_all(
                book, normalise(example.text), example.code, example.enhanced, example.stage
            )
            if got is None or got.rule.id != rule.id:
                name = got.rule.id if got else "no rule"
                yield Finding(
                    kind="wrong-example",
                    rule=rule.id,
                    phrase=example.text,
                    detail=f"decided by {name}",
                )


def _check_phrase(book: Rulebook, rule: Rule, phrase: Phrase) -> Iterator[Finding]:
    text = normalise(sample(phrase.source, book.words))
    if not phrase.pattern.search(text) or _first(rule.unless, text, {}):
        yield Finding(
            kind="dead",
            rule=rule.id,
            phrase=phrase.source,
            detail=f"does not match its own sample {text!r}",
        )
        return
    code, enhanced, stage = (
        values[0] if values else "" for values in (rule.codes, rule.enhanced, rule.stages)
    )
    got = _decide_all(book, text, code, enhanced.replace("x", "5").replace("*", "0"), stage)
    if got is not None and got.rule.cause != rule.cause:
        yield Finding(
            kind="shadowed",
            rule=rule.id,
            phrase=phrase.source,
            detail=f"{got.rule.id} takes {text!r}",
        )


def _decide_all(book: Rulebook, text: str, code: str, enhanced: str, stage: str) -> Match | None:
    return book.decide("strong", text, code, enhanced, stage) or book.decide(
        "weak", text, code, enhanced, stage
    )


def _compile(raw: _RawRule, words: dict[str, str]) -> Rule:
    if raw.tier not in ("strong", "weak"):
        raise ValueError(f"rule {raw.id!r}: tier must be strong or weak")
    unknown = raw.when.keys() - {"codes", "enhanced", "stage"}
    if unknown:
        raise ValueError(
            f"rule {raw.id!r}: `when` knows codes, enhanced and stage, not {sorted(unknown)}"
        )
    return Rule(
        id=raw.id,
        cause=raw.cause,
        weak=raw.tier == "weak",
        session=raw.session,
        phrases=tuple(compile_phrase(phrase, words) for phrase in raw.phrases),
        unless=tuple(compile_phrase(phrase, words) for phrase in raw.unless),
        codes=tuple(raw.when.get("codes", ())),
        enhanced=tuple(raw.when.get("enhanced", ())),
        stages=tuple(raw.when.get("stage", ())),
        examples=tuple(Example(text=e) if isinstance(e, str) else e for e in raw.examples),
    )


def _applies(rule: Rule, code: str, enhanced: str, stage: str) -> bool:
    if rule.codes and not code.startswith(rule.codes):
        return False
    if rule.stages and stage not in rule.stages:
        return False
    return not rule.enhanced or any(_same_code(pattern, enhanced) for pattern in rule.enhanced)


def _same_code(pattern: str, enhanced: str) -> bool:
    """Compare an enhanced code with `x.7.1` or `5.7.*`."""
    wanted, given = pattern.split("."), enhanced.split(".")
    return len(wanted) == len(given) and all(
        w in ("x", "*", g) for w, g in zip(wanted, given, strict=True)
    )


def _first(phrases: tuple[Phrase, ...], text: str, seen: dict[tuple[str, ...], bool]) -> str:
    """The words of the first phrase that matches, or ""."""
    for phrase in phrases:
        literals = phrase.literals
        there = seen.get(literals)
        if there is None:
            there = seen[literals] = any(literal in text for literal in literals)
        if there:
            match = phrase.pattern.search(text)
            if match:
                return match.group(0)
    return ""
