"""From TOML text to rules: every error names file, line, what was expected and how to mend it.

KumoMTA's shaping files and its bounce classifier's files (one table `rules`) load unchanged. Options that don't
exist are refused with the nearest name that does.
"""

from __future__ import annotations

__all__ = ("read_rule_file", "read_rule_set")

import datetime as dt
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import NoReturn

from deliverability.shaping.options import OPTIONS, nearest_names, parse_option
from deliverability.shaping.patterns import compile_pattern
from deliverability.shaping.positions import Path, find_positions, nearest_position
from deliverability.shaping.quantities import Threshold, parse_duration_ms, parse_threshold
from deliverability.shaping.rules import (
    ActionKind,
    AutomationAction,
    AutomationRule,
    BounceClassRule,
    Evidence,
    MatchKind,
    MxMatch,
    RuleFile,
    RuleSet,
    Section,
    SectionKind,
    Setting,
)
from engine.errors import ConfigError, InputError, Place

TEXT_CHARS_MAX = 4_000_000
RULES_MAX = 20_000
_SECTION_KEYS = ("automation", "evidence", "match", "mx_rollup", "replace_base", "sources")
_AUTOMATION_KEYS = ("action", "duration", "evidence", "match_internal", "regex", "trigger")
_MATCH_NAMES = tuple(kind.value for kind in MatchKind)
_ACTION_NAMES = tuple(kind.value for kind in ActionKind)
_WITH_VALUE = ("SetConfig", "SetDomainConfig")


def read_rule_set(texts: Iterable[tuple[str, str]]) -> RuleSet:
    """Read (file name, text) pairs; later files are laid over earlier ones.

    Raises:
        ConfigError: as `read_rule_file`.
    """
    return RuleSet(tuple(read_rule_file(text, file) for file, text in texts))


def read_rule_file(text: str, file: str) -> RuleFile:
    """Read one file of shaping rules or of bounce classes.

    Raises:
        ConfigError: the text isn't TOML, or a key or value isn't what it must be.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise ConfigError(f"a rule file has at most {TEXT_CHARS_MAX} characters", Place(file))
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"not TOML: {error}", _toml_error_place(str(error), file, text), "mend the syntax"
        ) from error
    return _FileReader(file, find_positions(text)).read(document)


def _toml_error_place(message: str, file: str, text: str) -> Place:
    found = re.search(r"at line (\d+), column (\d+)", message)
    if found:
        return Place(file, int(found[1]), int(found[2]))
    return Place(file, text.count("\n") + 1)


class _FileReader:
    """Turns one document into rules; keeps the file's name and positions for the places."""

    def __init__(self, file: str, positions: Mapping[Path, tuple[int, int]]) -> None:
        self.file = file
        self.positions = positions
        self.rules_seen = 0

    def place(self, path: Path) -> Place:
        line, column = nearest_position(self.positions, path)
        return Place(self.file, line, column, _show_path(path))

    def error(self, path: Path, message: str, mend: str = "") -> ConfigError:
        return ConfigError(message, self.place(path), mend)

    def fail(self, path: Path, message: str, mend: str = "") -> NoReturn:
        raise self.error(path, message, mend)

    def table(self, value: object, path: Path) -> dict[str, object]:
        if not isinstance(value, dict):
            self.fail(path, f"expected a table, got {value!r:.60}", "write a [section] header")
        return value

    def read(self, document: dict[str, object]) -> RuleFile:
        if set(document) == {"rules"} and _is_classes(document["rules"]):
            rules = self.table(document["rules"], ("rules",))
            return RuleFile(self.file, bounce_classes=self.bounce_classes(rules))
        sections: list[Section] = []
        for name, value in document.items():
            if name == "provider":
                for provider, body in self.table(value, (name,)).items():
                    sections += self.section(SectionKind.PROVIDER, provider, body, (name, provider))
            elif name == "default":
                sections += self.section(SectionKind.DEFAULT, "", value, (name,))
            else:
                sections += self.section(SectionKind.SITE, name, value, (name,))
        sections.sort(key=lambda section: (section.place.line, section.place.column))
        return RuleFile(self.file, sections=tuple(sections))

    def section(
        self, kind: SectionKind, name: str, value: object, path: Path, source: str = ""
    ) -> list[Section]:
        body = self.table(value, path)
        if kind in (SectionKind.DEFAULT, SectionKind.PROVIDER) and "mx_rollup" in body:
            self.fail((*path, "mx_rollup"), "only a domain has mx_rollup", "remove it")
        if kind is SectionKind.SITE and not self.flag(body, "mx_rollup", path, default=True):
            kind = SectionKind.DOMAIN
        matches = self.matches(body, path, is_provider=kind is SectionKind.PROVIDER and not source)
        settings = tuple(
            self.setting(key, item, path) for key, item in body.items() if key not in _SECTION_KEYS
        )
        own = Section(
            kind=kind,
            name=name.lower() if kind in (SectionKind.SITE, SectionKind.DOMAIN) else name,
            source=source,
            replace_base=self.flag(body, "replace_base", path, default=False),
            matches=matches,
            settings=settings,
            automation=self.automation(body.get("automation", []), (*path, "automation")),
            evidence=self.evidence(body, path),
            place=self.place(path),
        )
        sections = [own]
        if "sources" in body and source:
            self.fail((*path, "sources"), "a source's section has no sources of its own")
        for inner, item in self.table(body.get("sources", {}), (*path, "sources")).items():
            sections += self.section(kind, name, item, (*path, "sources", inner), inner)
        return sections

    def flag(self, body: dict[str, object], key: str, path: Path, *, default: bool) -> bool:
        value = body.get(key, default)
        if not isinstance(value, bool):
            self.fail((*path, key), f"{key} must be true or false, got {value!r:.60}")
        return value

    def setting(self, name: str, value: object, path: Path) -> Setting:
        if name not in OPTIONS:
            nearest = nearest_names(name, (*OPTIONS, *_SECTION_KEYS))
            mend = f"did you mean {nearest}?" if nearest else "see docs/shaping.md for all options"
            self.fail((*path, name), f"there is no option {name[:60]!r}", mend)
        try:
            return Setting(name, parse_option(name, value), self.place((*path, name)))
        except InputError as error:
            self.fail((*path, name), error.message, error.mend)

    def matches(
        self, body: dict[str, object], path: Path, *, is_provider: bool
    ) -> tuple[MxMatch, ...]:
        if "match" not in body:
            return ()
        path = (*path, "match")
        if not is_provider:
            self.fail(path, "only a provider has a match list", "move it to [provider.NAME]")
        value = body["match"]
        if not isinstance(value, list):
            self.fail(path, "expected a list", 'write match = [{MXSuffix = ".mx.example.net"}]')
        return tuple(self.match(item, (*path, index)) for index, item in enumerate(value))

    def match(self, item: object, path: Path) -> MxMatch:
        entries = self.table(item, path)
        if len(entries) != 1:
            self.fail(path, "a match has one key", f"use one of {', '.join(_MATCH_NAMES)}")
        name, value = next(iter(entries.items()))
        if name not in _MATCH_NAMES:
            self.fail(
                path, f"there is no match {name[:60]!r}", f"use one of {', '.join(_MATCH_NAMES)}"
            )
        if not isinstance(value, str) or not value:
            self.fail(path, f"{name} must be a text that isn't empty, got {value!r:.60}")
        return MxMatch(MatchKind(name), value.lower(), self.place(path))

    def evidence(self, body: dict[str, object], path: Path) -> Evidence | None:
        if "evidence" not in body:
            return None
        path = (*path, "evidence")
        value = self.table(body["evidence"], path)
        mend = 'write evidence = {source = "...", seen = "2026-11-01", expires = "2027-05-01"}'
        if set(value) != {"source", "seen", "expires"}:
            self.fail(path, "evidence has exactly source, seen and expires", mend)
        texts = {key: str(item) for key, item in value.items()}
        for key in ("seen", "expires"):
            try:
                dt.date.fromisoformat(texts[key])
            except ValueError:
                self.fail((*path, key), f"{key} must be a date, got {texts[key][:40]!r}", mend)
        return Evidence(texts["source"], texts["seen"], texts["expires"], self.place(path))

    def automation(self, value: object, path: Path) -> tuple[AutomationRule, ...]:
        if not isinstance(value, list):
            self.fail(path, "expected a list of tables", 'write [["domain".automation]]')
        return tuple(self.automation_rule(item, (*path, index)) for index, item in enumerate(value))

    def automation_rule(self, value: object, path: Path) -> AutomationRule:
        body = self.table(value, path)
        self.rules_seen += 1
        if self.rules_seen > RULES_MAX:
            self.fail(path, f"a file has at most {RULES_MAX} automation rules")
        for key in body:
            if key not in _AUTOMATION_KEYS:
                nearest = nearest_names(key, _AUTOMATION_KEYS)
                mend = f"did you mean {nearest}?" if nearest else ""
                self.fail((*path, key), f"an automation rule has no key {key[:60]!r}", mend)
        for key in ("regex", "action", "duration"):
            if key not in body:
                self.fail(path, f"an automation rule needs {key}", f"add {key} = ...")
        patterns, places = self.patterns(body["regex"], (*path, "regex"))
        if not patterns:
            self.fail((*path, "regex"), "regex needs at least one pattern")
        return AutomationRule(
            patterns=patterns,
            trigger=self.trigger(body.get("trigger", "Immediate"), (*path, "trigger")),
            actions=self.actions(body["action"], (*path, "action")),
            duration_ms=self.duration_ms(body["duration"], (*path, "duration")),
            match_internal=self.flag(body, "match_internal", path, default=False),
            evidence=self.evidence(body, path),
            place=self.place(path),
            pattern_places=places,
        )

    def patterns(self, value: object, path: Path) -> tuple[tuple[str, ...], tuple[Place, ...]]:
        listed = value if isinstance(value, list) else [value]
        paths = [(*path, n) if isinstance(value, list) else path for n in range(len(listed))]
        for item, where in zip(listed, paths, strict=True):
            self.pattern(item, where)
        return tuple(map(str, listed)), tuple(self.place(where) for where in paths)

    def pattern(self, item: object, path: Path) -> str:
        if not isinstance(item, str) or not item:
            self.fail(path, f"a pattern must be a text that isn't empty, got {item!r:.60}")
        try:
            compile_pattern(item)
        except InputError as error:
            self.fail(path, error.message, error.mend)
        return item

    def trigger(self, value: object, path: Path) -> Threshold:
        if value == "Immediate":
            return Threshold(1, 1)
        if isinstance(value, dict) and set(value) == {"Threshold"}:
            try:
                return parse_threshold(value["Threshold"])
            except InputError as error:
                self.fail((*path, "Threshold"), error.message, error.mend)
        raise self.error(
            path, f"not a trigger: {value!r:.60}", 'write "Immediate" or {Threshold = "5/hr"}'
        )

    def actions(self, value: object, path: Path) -> tuple[AutomationAction, ...]:
        if isinstance(value, list):
            if not value:
                self.fail(path, "action needs at least one")
            return tuple(self.action(item, (*path, n)) for n, item in enumerate(value))
        return (self.action(value, path),)

    def action(self, value: object, path: Path) -> AutomationAction:
        if isinstance(value, str) and value in _ACTION_NAMES and value not in _WITH_VALUE:
            return AutomationAction(ActionKind(value))
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _WITH_VALUE:
            name = next(iter(value))
            change = self.table(value[name], (*path, name))
            if set(change) != {"name", "value"}:
                self.fail((*path, name), f"{name} has exactly name and value")
            if name == "SetDomainConfig":
                return AutomationAction(ActionKind(name), str(change["name"]), str(change["value"]))
            setting = self.setting_change(change, (*path, name))
            return AutomationAction(ActionKind(name), setting.name, setting.value)
        raise self.error(
            path, f"not an action: {value!r:.60}", f"use one of {', '.join(_ACTION_NAMES)}"
        )

    def setting_change(self, change: dict[str, object], path: Path) -> Setting:
        name = str(change["name"])
        if name not in OPTIONS:
            nearest = nearest_names(name, OPTIONS)
            mend = f"did you mean {nearest}?" if nearest else ""
            self.fail((*path, "name"), f"there is no option {name[:60]!r}", mend)
        try:
            return Setting(name, parse_option(name, change["value"]), self.place(path))
        except InputError as error:
            self.fail((*path, "value"), error.message, error.mend)

    def duration_ms(self, value: object, path: Path) -> int:
        try:
            return parse_duration_ms(value)
        except InputError as error:
            self.fail(path, error.message, error.mend)

    def bounce_classes(self, rules: dict[str, object]) -> tuple[BounceClassRule, ...]:
        found = []
        for name, value in rules.items():
            patterns, places = self.patterns(value, ("rules", name))
            found += [
                BounceClassRule(name, pattern, place)
                for pattern, place in zip(patterns, places, strict=True)
            ]
        return tuple(found)


def _is_classes(value: object) -> bool:
    """Tell a bounce classifier's table from a section for a domain that is called `rules`."""
    return isinstance(value, dict) and any(isinstance(item, list) for item in value.values())


def _show_path(path: Path) -> str:
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            quoted = f'"{part}"' if re.search(r"[^\w-]", part) else part
            shown += f".{quoted}" if shown else quoted
    return shown
