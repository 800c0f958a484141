"""Replay: what automation would have done, had these replies come.

Replies come from a table (tab-separated, with a header that has at least `text`; `provider`, `domain`, `mx`, `code`,
`enhanced`, `time_ms` are used if there) or from plain lines, one reply a line. A reply is given to the rules that
apply to it: by domain and MX, or by the provider's name; and beside that to all others, to show patterns that would
match if they stood elsewhere.
"""

from __future__ import annotations

__all__ = ("RecordedReply", "ReplayReport", "RuleReplay", "parse_replies", "replay")

from collections.abc import Sequence

import msgspec

from deliverability.shaping.automation import AutomationState, Fired, decide, matching_pattern
from deliverability.shaping.effective import applying_sections, matching_providers
from deliverability.shaping.rules import AutomationRule, RuleSet, Section, SectionKind
from engine.errors import InputError, Place

REPLIES_MAX = 2_000_000
FIRINGS_MAX = 10_000
_STEP_MS = 1_000


class RecordedReply(msgspec.Struct, frozen=True):
    """A reply as it was recorded; what isn't known is empty. `line` is its line in the file."""

    text: str
    line: int
    where: str = ""
    mx: str = ""
    time_ms: int = 0


class RuleReplay(msgspec.Struct, frozen=True):
    """What one rule saw: matches in its scope, firings, and texts that matched only outside of it."""

    section: str
    place: Place
    patterns: tuple[str, ...]
    matched: int
    fired: int
    matched_elsewhere: int
    first_line: int


class ReplayReport(msgspec.Struct, frozen=True):
    """All rules with what they saw, and each firing (the first `FIRINGS_MAX`)."""

    replies: int
    matched: int
    rules: tuple[RuleReplay, ...]
    firings: tuple[Fired, ...]


def parse_replies(text: str, file: str) -> tuple[RecordedReply, ...]:
    """Read a table or plain lines of replies.

    Raises:
        InputError: a table has no column `text`, or there are too many replies.
    """
    lines = text.splitlines()
    if len(lines) > REPLIES_MAX:
        raise InputError(f"at most {REPLIES_MAX} replies", Place(file), "split the file")
    if not lines or "\t" not in lines[0]:
        return tuple(
            RecordedReply(line.strip(), number, time_ms=number * _STEP_MS)
            for number, line in enumerate(lines, 1)
            if line.strip()
        )
    columns = {name.strip().lower(): index for index, name in enumerate(lines[0].split("\t"))}
    if "text" not in columns:
        raise InputError(
            "the table has no column text",
            Place(file, 1),
            "name the column with the reply's text text",
        )
    return tuple(
        _table_reply(columns, line.split("\t"), Place(file, number))
        for number, line in enumerate(lines[1:], 2)
        if line.strip()
    )


def _table_reply(columns: dict[str, int], cells: Sequence[str], place: Place) -> RecordedReply:
    def cell(name: str) -> str:
        index = columns.get(name, len(cells))
        return cells[index].strip() if index < len(cells) else ""

    text, code = cell("text"), cell("code")
    if code and not text.startswith(code):
        text = " ".join(part for part in (code, cell("enhanced"), text) if part)
    time = cell("time_ms")
    if time and not time.isdigit():
        raise InputError(f"time_ms must be a whole number, got {time[:40]!r}", place)
    where = (cell("domain") or cell("provider")).lower().rstrip(".")
    return RecordedReply(
        text=text,
        line=place.line,
        where=where,
        mx=cell("mx").lower() or where,
        time_ms=int(time) if time else place.line * _STEP_MS,
    )


def _sections_for(rules: RuleSet, reply: RecordedReply) -> tuple[Section, ...]:
    """Return the sections for a reply: its name may be a domain, an MX host or a provider."""
    sections = list(applying_sections(rules, reply.where, [reply.mx] if reply.mx else []))
    if not matching_providers(rules, reply.where, [reply.mx] if reply.mx else []):
        sections += [
            section
            for section in rules.sections()
            if section.kind is SectionKind.PROVIDER and section.name.lower() == reply.where
        ]
    return tuple(sections)


class _Tally:
    """Counts for one rule."""

    def __init__(self, section: Section, rule: AutomationRule) -> None:
        self.section = section
        self.rule = rule
        self.matched = self.fired = self.elsewhere = self.first_line = 0

    def report(self) -> RuleReplay:
        return RuleReplay(
            self.section.title(),
            self.rule.place,
            self.rule.patterns,
            self.matched,
            self.fired,
            self.elsewhere,
            self.first_line,
        )


def replay(rules: RuleSet, replies: Sequence[RecordedReply]) -> ReplayReport:
    """Run all replies, in their order of time, through the rules' automation."""
    tallies = {
        str(rule.place): _Tally(section, rule)
        for section in rules.sections()
        for rule in section.automation
    }
    sections: dict[tuple[str, str], tuple[AutomationRule, ...]] = {}
    firings: list[Fired] = []
    state, matched = AutomationState(), 0
    for reply in sorted(replies, key=lambda each: each.time_ms):
        key = (reply.where, reply.mx)
        if key not in sections:
            applying = _sections_for(rules, reply)
            sections[key] = tuple(rule for section in applying for rule in section.automation)
        in_scope = {str(rule.place) for rule in sections[key]}
        hit = False
        for place, tally in tallies.items():
            if matching_pattern(tally.rule, reply.text) is None:
                continue
            tally.first_line = tally.first_line or reply.line
            tally.matched += place in in_scope
            tally.elsewhere += place not in in_scope
            hit = hit or place in in_scope
        matched += hit
        if hit:
            state, fired = decide(
                state, sections[key], scope=reply.where, reply=reply.text, now_ms=reply.time_ms
            )
            for firing in fired:
                tallies[str(firing.place)].fired += 1
            firings += fired[: FIRINGS_MAX - len(firings)]
    reports = tuple(tally.report() for tally in tallies.values())
    return ReplayReport(len(replies), matched, reports, tuple(firings))
