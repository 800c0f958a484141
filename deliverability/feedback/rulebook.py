"""The rules that give an SMTP reply its cause: `replies.toml` and `vocabulary.toml`, compiled once, and checked.

A rule has an id, a cause, phrases (any of which must match), phrases that must not (`unless`) and conditions
(`when`) on reply code, enhanced code and stage. Strong rules decide in file order, then those of the vocabulary
(tier `general`), before the table of enhanced codes does; weak ones (`tier = "weak"`) after it. Each rule carries
invented examples which `check` runs, together with a sample of each phrase.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources

import msgspec

from deliverability.feedback.phrases import Phrase, compile_phrase, normalise
from deliverability.feedback.taxonomy import Cause
from engine.errors import ConfigError, Place

__all__ = (
    "Example",
    "Finding",
    "Match",
    "Rule",
    "Rulebook",
    "Tier",
    "check",
    "load",
    "shipped",
    "tier_of",
)

_GRAM = 4
_RULES = "replies.toml"
_VOCABULARY = "vocabulary.toml"


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
    tier: str
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


class Tier(msgspec.Struct, frozen=True):
    """Rules of one strength, in the order in which they decide, and an index of their phrases.

    Attributes:
        phrases: all phrases with the number of their rule, in deciding order.
        index: from four characters to the phrases that need a literal with them; "" has those with shorter
        literals.
    """

    rules: tuple[Rule, ...]
    phrases: tuple[tuple[int, Phrase], ...]
    index: dict[str, tuple[int, ...]]

    def decide(self, text: str, code: str, enhanced: str, stage: str) -> Match | None:
        """The first rule that fits a normalised text; None if none does."""
        failed = -1
        for number in self._candidates(text):
            at, phrase = self.phrases[number]
            if at == failed:
                continue
            if not any(literal in text for literal in phrase.literals):
                continue  # it had four characters of one by chance; ten times cheaper than to search
            rule = self.rules[at]
            found = phrase.pattern.search(text)
            if found is None:
                continue
            if _applies(rule, code, enhanced, stage) and not _matches(rule.unless, text):
                return Match(rule=rule, words=found.group(0))
            failed = at
        return None

    def _candidates(self, text: str) -> list[int]:
        """The phrases, in order, of which the text holds a literal (or may: by four of its characters)."""
        grams = {text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)}
        numbers = set(self.index.get("", ()))
        for gram in grams & self.index.keys():
            numbers.update(self.index[gram])
        return sorted(numbers)


class Rulebook(msgspec.Struct, frozen=True):
    """All rules by their strength: strong, general (the vocabulary), weak."""

    strong: Tier
    general: Tier
    weak: Tier

    def tiers(self) -> tuple[Tier, Tier, Tier]:
        """The tiers, strongest first."""
        return self.strong, self.general, self.weak

    def rules(self) -> tuple[Rule, ...]:
        """All rules, strongest first."""
        return tuple(rule for tier in self.tiers() for rule in tier.rules)


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
    rule: list[_RawRule] = []
    words: dict[str, str] = {}


def load(text: str, vocabulary: str = "", file: str = "replies.toml") -> Rulebook:
    """Compile a rule file and a vocabulary, each with its own words.

    Raises:
        ConfigError: a file is not TOML, has unknown keys, an unknown cause, or a phrase that cannot be compiled.
    """
    rules = _rules(text, file)
    return Rulebook(
        strong=tier_of([rule for rule in rules if rule.tier == "strong"]),
        general=tier_of(_rules(vocabulary, _VOCABULARY, general=True)),
        weak=tier_of([rule for rule in rules if rule.tier == "weak"]),
    )


def _rules(text: str, file: str, *, general: bool = False) -> list[Rule]:
    try:
        raw = msgspec.convert(tomllib.loads(text), _RawBook)
        return [_compile(rule, raw.words, general=general) for rule in raw.rule]
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError(
            f"The reply rules cannot be read: {error}.",
            Place(file=file),
            "Mend the rule; `veredus feedback rules check` tries them all.",
        ) from error


@lru_cache(maxsize=1)
def shipped() -> Rulebook:
    """The rules that Veredus ships, compiled on first use."""
    folder = resources.files("deliverability.feedback")
    texts = [(folder / name).read_text(encoding="utf-8") for name in (_RULES, _VOCABULARY)]
    return load(*texts)


def check(book: Rulebook) -> Iterator[Finding]:
    """Find dead and shadowed phrases and examples that another rule decides.

    A phrase of the vocabulary is meant to be overtaken by strong rules; it is tried against its own tier.
    """
    for tier in book.tiers():
        tiers = (tier,) if tier is book.general else (book.strong, book.weak)
        for rule in tier.rules:
            for phrase in rule.phrases:
                yield from _check_phrase(tiers, rule, phrase)
            for example in rule.examples:
                got = _decide(
                    tiers, normalise(example.text), example.code, example.enhanced, example.stage
                )
                if got is None or got.rule.id != rule.id:
                    name = got.rule.id if got else "no rule"
                    yield Finding(
                        kind="wrong-example",
                        rule=rule.id,
                        phrase=example.text,
                        detail=f"decided by {name}",
                    )


def _check_phrase(tiers: tuple[Tier, ...], rule: Rule, phrase: Phrase) -> Iterator[Finding]:
    text = normalise(phrase.sample)
    if not phrase.pattern.search(text) or _matches(rule.unless, text):
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
    got = _decide(tiers, text, code, enhanced.replace("x", "5").replace("*", "0"), stage)
    if got is not None and got.rule.cause != rule.cause:
        yield Finding(
            kind="shadowed",
            rule=rule.id,
            phrase=phrase.source,
            detail=f"{got.rule.id} takes {text!r}",
        )


def _decide(
    tiers: tuple[Tier, ...], text: str, code: str, enhanced: str, stage: str
) -> Match | None:
    found = (tier.decide(text, code, enhanced, stage) for tier in tiers)
    return next((match for match in found if match is not None), None)


def _compile(raw: _RawRule, words: dict[str, str], *, general: bool) -> Rule:
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
        tier="general" if general else raw.tier,
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


def _matches(phrases: tuple[Phrase, ...], text: str) -> bool:
    for phrase in phrases:
        if any(literal in text for literal in phrase.literals) and phrase.pattern.search(text):
            return True
    return False


def tier_of(rules: list[Rule]) -> Tier:
    """Index the phrases of some rules by the rarest four characters of each of their literals."""
    phrases = [(at, phrase) for at, rule in enumerate(rules) for phrase in rule.phrases]
    counts: dict[str, int] = {}
    for _, phrase in phrases:
        for gram in {gram for literal in phrase.literals for gram in _grams(literal)}:
            counts[gram] = counts.get(gram, 0) + 1
    index: dict[str, set[int]] = {}
    for number, (_, phrase) in enumerate(phrases):
        for literal in phrase.literals:
            grams = _grams(literal)
            key = min(grams, key=lambda gram: counts[gram]) if grams else ""
            index.setdefault(key, set()).add(number)
    return Tier(
        rules=tuple(rules),
        phrases=tuple(phrases),
        index={gram: tuple(sorted(numbers)) for gram, numbers in index.items()},
    )


def _grams(literal: str) -> list[str]:
    return [literal[at : at + _GRAM] for at in range(len(literal) - _GRAM + 1)]
