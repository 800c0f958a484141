"""Read a test file, with every mistake at its place and a proposal how to mend it."""

from __future__ import annotations

__all__ = ("CASES_MAX", "read_suite")

from collections.abc import Iterable
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from engine.vocabulary import ConsentGiven, ContactPut, Erase, Event, MarkSuppressed
from scenarios.calendar import parse_date
from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode, parse_document
from scenarios.duration import parse_duration
from scenarios.language import Form
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import Coupon, Notify, Scenario, Send, Standing, Webhook, walk
from scenarios.products import ProductList
from scenarios.proof.case import (
    Answered,
    Case,
    Expected,
    Given,
    Outage,
    Scripted,
    Suite,
    Then,
    Timed,
)
from scenarios.proof.forms import (
    ACTIONS,
    CAP,
    CASE,
    FILE,
    GIVEN,
    HISTORY,
    NON_SENDS,
    QUIET,
    SETTINGS,
    THEN,
    THEN_LINES,
    WHEN,
)
from scenarios.scalars import ScalarReader, join
from scenarios.settings import Cap, ContactSettings, QuietHours
from scenarios.zones import UTC, zone_of

CASES_MAX: Final = 500

_HOUR_MS: Final = 3_600_000
_TIME: Final = "write `4h` after the beginning, or a time such as `2026-03-29 02:30`"
_OUTCOMES: Final = ("delivered", "deferred", "bounced")


def read_suite(text: str, file: str, scenario: Scenario) -> tuple[Suite | None, list[Mistake]]:
    """Read the tests of a scenario; with mistakes there is no suite."""
    root, mistakes = parse_document(text, file)
    if root is None:
        return None, mistakes
    reader = _Reader(file, scenario)
    suite = reader.suite(root)
    mistakes = sorted({*mistakes, *reader.mistakes})
    return (None if mistakes else suite), mistakes


class _Zoned(msgspec.Struct, frozen=True):
    """How times of a case are read: from its beginning, in the contact's zone."""

    begin: int
    zone: ZoneInfo


class _Reader(ScalarReader):
    """Reads one file. `_sends`, `_stands` and `_channels` are names that the scenario knows."""

    def __init__(self, file: str, scenario: Scenario) -> None:
        super().__init__(file)
        steps = tuple(walk(scenario.steps))
        self._file_name = file
        self._sends = tuple(step.id for step in steps if isinstance(step, Send))
        self._stands = tuple(step.id for step in steps if isinstance(step, Standing))
        self._channels = tuple(step.channel for step in steps if isinstance(step, Notify))
        self._calls = tuple(step.id for step in steps if isinstance(step, Webhook))
        self._takes = tuple(step.id for step in steps if isinstance(step, Coupon))
        self._beside = False

    def suite(self, root: Node) -> Suite:
        items = self.form(root, FILE, "", told="a test file") or {}
        beside = self._texts(items.get("with"), "with")
        self._beside = bool(beside)
        frame = self._mapping(items.get("given"), "given", GIVEN)
        nodes = self._list(items.get("cases"), "cases")
        if len(nodes) > CASES_MAX:
            message = f"{len(nodes)} cases; at most {CASES_MAX} are run"
            self.mistake(nodes[CASES_MAX], "cases", message, "split the file")
        elif not nodes and "cases" in items:
            self.mistake(items["cases"], "cases", "there are no cases", "add at least one")
        cases = [
            self._case(node, f"cases[{at}]", frame) for at, node in enumerate(nodes[:CASES_MAX])
        ]
        return Suite(self._file_name, tuple(cases), beside)

    def _case(self, node: Node, path: str, frame: dict[str, Node]) -> Case:
        items = self._mapping(node, path, CASE)
        given, zoned = self._given(items.get("given"), join(path, "given"), frame, node)
        inputs: list[Timed] = []
        script: list[Scripted] = []
        outages: list[Outage] = []
        answers: list[Answered] = []
        for at, action in enumerate(self._list(items.get("when"), join(path, "when"))):
            made = self._action(action, f"{path}.when[{at}]", zoned)
            match made:
                case Timed():
                    inputs.append(made)
                case Scripted():
                    script.append(made)
                case Outage():
                    outages.append(made)
                case Answered():
                    answers.append(made)
                case None:
                    pass
        until = self._time(items.get("until"), join(path, "until"), zoned) or 0
        then = self._then(items.get("then"), join(path, "then"), zoned)
        name = self._text(items.get("name"), join(path, "name"))
        return Case(
            name,
            node.line,
            given,
            tuple(inputs),
            tuple(script),
            tuple(outages),
            until,
            then,
            tuple(answers),
        )

    # ---- given

    def _given(
        self, node: Node | None, path: str, frame: dict[str, Node], case: Node
    ) -> tuple[Given, _Zoned]:
        own = self._mapping(node, path, GIVEN)
        items = {**frame, **own}
        attributes = {
            **self._plain_mapping(frame.get("contact"), "given.contact"),
            **self._plain_mapping(own.get("contact"), join(path, "contact")),
        }
        attributes = {name: value for name, value in attributes.items() if value is not None}
        settings = self._settings(items.get("settings"), join(path, "settings"))
        zone = zone_of(str(attributes.get(settings.zone_attribute, ""))) or zone_of(settings.zone)
        zoned = _Zoned(0, zone or UTC)
        if "at" not in items:
            self.mistake(case, join(path, "at"), "the case has no `at`", _TIME)
        zoned = _Zoned(self._absolute(items.get("at"), join(path, "at"), zoned), zone or UTC)
        given = Given(
            at=zoned.begin,
            contact_id=self._text(items.get("id"), join(path, "id")) or "contact",
            attributes=attributes,
            consents=self._consents(items.get("consents"), join(path, "consents")),
            tags=self._texts(items.get("tags"), join(path, "tags")),
            scores=self._numbers(items.get("scores"), join(path, "scores")),
            history=self._history(items.get("history"), join(path, "history"), zoned),
            settings=settings,
            coupons=self._stock(items.get("coupons"), join(path, "coupons")),
            products=self._products(items.get("products"), join(path, "products")),
        )
        return given, zoned

    def _consents(self, node: Node | None, path: str) -> dict[str, bool]:
        if not isinstance(node, MappingNode):
            return dict.fromkeys(self._texts(node, path), True)
        found = self._plain_mapping(node, path)
        for topic, granted in found.items():
            if not isinstance(granted, bool):
                message = f"`{topic}` is neither true nor false"
                self.mistake(
                    node.items[topic], join(path, topic), message, "write `true` or `false`"
                )
        return {topic: granted is True for topic, granted in found.items()}

    def _stock(self, node: Node | None, path: str) -> dict[str, int]:
        entries = node.items if isinstance(node, MappingNode) else {}
        if node is not None and not entries:
            self.mistake(node, path, "this must be a mapping", "write `pool: 2`")
        return {name: self._whole(one, join(path, name), 0) for name, one in entries.items()}

    def _products(self, node: Node | None, path: str) -> dict[str, ProductList]:
        found: dict[str, ProductList] = {}
        for name, rows in self._plain_mapping(node, path).items():
            assert node is not None, "nothing has no names"
            rows = rows if isinstance(rows, dict) else {"": None}  # noqa: PLW2901 -- told below
            if not all(isinstance(row, dict) for row in rows.values()):
                mend = f"write `{name}: {{LP-1: {{name: Blue}}}}`"
                self.mistake(node, join(path, name), "rows have keys and columns", mend)
                continue
            columns = dict.fromkeys(("key", *(column for row in rows.values() for column in row)))
            keyed = {key: {**row, "key": key} for key, row in rows.items()}
            found[name] = ProductList("key", tuple(columns), keyed)
        return found

    def _history(self, node: Node | None, path: str, zoned: _Zoned) -> tuple[Event, ...]:
        found: list[Event] = []
        for at, one in enumerate(self._list(node, path)):
            here = f"{path}[{at}]"
            items = self._mapping(one, here, HISTORY)
            name = self._text(items.get("event"), join(here, "event"))
            when = self._time(items.get("at"), join(here, "at"), zoned)
            times = self._whole(items.get("times"), join(here, "times"), 1)
            found += [Event(name, when or 0, {}, historical=True)] * min(times, 1_000)
        return tuple(sorted(found, key=lambda event: event.at))

    def _settings(self, node: Node | None, path: str) -> ContactSettings:
        items = self._mapping(node, path, SETTINGS)
        quiet = None
        if (hours := items.get("quiet_hours")) is not None:
            parts = self._mapping(hours, join(path, "quiet_hours"), QUIET)
            here = join(path, "quiet_hours")
            quiet = QuietHours(self.minute(parts, "from", here), self.minute(parts, "to", here))
        caps = [
            self._cap(one, f"{path}.caps[{at}]")
            for at, one in enumerate(self._list(items.get("caps"), join(path, "caps")))
        ]
        zone = self._text(items.get("zone"), join(path, "zone")) or "UTC"
        if zone_of(zone) is None:
            message = f"there is no time zone `{zone[:40]}`"
            self.mistake(items["zone"], join(path, "zone"), message, "such as `Europe/Warsaw`")
        return ContactSettings(zone=zone, caps=tuple(caps), quiet_hours=quiet)

    def _cap(self, node: Node, path: str) -> Cap:
        items = self._mapping(node, path, CAP)
        window = self.duration(items.get("window"), join(path, "window"))
        period: Any = self._one_of(
            items.get("period"), join(path, "period"), ("day", "week", "month")
        )
        if ("window" in items) == ("period" in items):
            self.mistake(
                node, path, "a cap has either `window` or `period`", "such as `window: 7d`"
            )
        return Cap(
            name=self._text(items.get("name"), join(path, "name")) or "cap",
            limit=self._whole(items.get("limit"), join(path, "limit"), 0),
            window_ms=window,
            period=period,
            streams=self._texts(items.get("streams"), join(path, "streams")),
            topics=self._texts(items.get("topics"), join(path, "topics")),
        )

    # ---- when

    def _action(
        self, node: Node, path: str, zoned: _Zoned
    ) -> Timed | Scripted | Outage | Answered | None:
        items = self._mapping(node, path, WHEN)
        kinds = [key for key in ACTIONS if key in items]
        if len(kinds) != 1:
            shown = " and ".join(kinds) or "nothing"
            mend = f"one of {', '.join(ACTIONS)}"
            self.mistake(node, path, f"an action is one thing, this is {shown}", mend)
            return None
        kind = kinds[0]
        here = join(path, kind)
        value = items[kind]
        if kind == "mail":
            return self._scripted(items, path)
        if kind == "webhook":
            return self._answered(items, path)
        at = self._time(items.get("at"), join(path, "at"), zoned)
        if at is None:
            if "at" not in items:
                self.mistake(node, path, "the action has no `at`", _TIME)
            return None
        if at < zoned.begin:
            self.mistake(node, path, "it is before the case begins", "put it into `history`")
        if kind == "outage":
            return Outage(at, at + self.duration(value, here))
        return self._input(kind, value, here, at, items.get("data"))

    def _input(self, kind: str, value: Node, path: str, at: int, data: Node | None) -> Timed:
        match kind:
            case "event":
                fields = self._plain_mapping(data, path.removesuffix("event") + "data")
                return Timed(at, Event(self._text(value, path), at, fields))
            case "put":
                return Timed(at, ContactPut(self._plain_mapping(value, path)))
            case "grant" | "withdraw":
                topic = self._text(value, path)
                return Timed(at, ConsentGiven(topic, kind == "grant", at, "test"))
            case "suppress":
                stream = self._text(value, path)
                return Timed(at, MarkSuppressed("test", "" if stream == "all" else stream))
            case _:
                return Timed(at, Erase("test"))

    def _scripted(self, items: dict[str, Node], path: str) -> Scripted:
        step = self._one_of(items.get("mail"), join(path, "mail"), self._sends)
        outcome: Any = self._one_of(items.get("outcome"), join(path, "outcome"), _OUTCOMES)
        after_ms = self._elapsed(items.get("after"), join(path, "after"))
        if outcome == "deferred" and not after_ms:
            message = "a deferred mail is tried again"
            self.mistake(items["mail"], path, message, "say after which time, `after: 30m`")
        return Scripted(step, outcome or "delivered", after_ms)

    def _answered(self, items: dict[str, Node], path: str) -> Answered:
        step = self._step(items["webhook"], join(path, "webhook"), self._calls)
        text = self._text(items.get("answer"), join(path, "answer"))
        status = 0 if text == "none" else int(text) if text.isdecimal() and len(text) == 3 else -1
        if status < 0:
            node = items.get("answer") or items["webhook"]
            self.mistake(
                node, join(path, "answer"), "this is no answer", "write `200`, `422` or `none`"
            )
        after_ms = self._elapsed(items.get("after"), join(path, "after"))
        fields = self._plain_mapping(items.get("data"), join(path, "data"))
        return Answered(step, max(status, 0), after_ms, fields)

    # ---- then

    def _then(self, node: Node | None, path: str, zoned: _Zoned) -> Then:
        items = self._mapping(node, path, THEN)
        timeline = []
        for key in THEN_LINES:
            for at, one in enumerate(self._list(items.get(key), join(path, key))):
                timeline.append(self._expected(key, one, f"{path}.{key}[{at}]", zoned))
        opened = items.get("opened")
        standing = self._list(items.get("standing"), join(path, "standing"))
        return Then(
            timeline=tuple(timeline),
            ends="ended" in items,
            opened=None if opened is None else self._whole(opened, join(path, "opened"), 0),
            standing=tuple(
                self._step(one, join(path, "standing"), self._stands) for one in standing
            )
            if "standing" in items
            else None,
            tags=self._texts(items["tags"], join(path, "tags")) if "tags" in items else None,
            attributes=self._plain_mapping(items.get("contact"), join(path, "contact")),
            scores=self._numbers(items.get("scores"), join(path, "scores")),
        )

    def _expected(self, key: str, node: Node, path: str, zoned: _Zoned) -> Expected:
        what, named, keys = THEN_LINES[key]
        form = Form(key, "", tuple(_only(one) for one in keys))
        items = {named: node} if isinstance(node, ScalarNode) else self._mapping(node, path, form)
        if named not in items:
            self.mistake(node, path, f"there is no `{named}`", f"write `{named}: …`")
            return Expected(what, "")
        known = {"sends": self._sends, "not_sent": self._sends, "notified": self._channels}
        known |= {"called": self._calls, "coupons": self._takes}
        name = self._step(items[named], join(path, named), known.get(key, ()))
        said = {"called": "endpoint", "coupons": "pool"}.get(key, "template")
        detail = self._text(items.get(said), join(path, said))
        if key == "not_sent":
            if "reason" not in items:
                self.mistake(node, path, "there is no `reason`", f"one of {', '.join(NON_SENDS)}")
            detail = self._one_of(items.get("reason"), join(path, "reason"), NON_SENDS)
        return Expected(what, name, detail, self._time(items.get("at"), join(path, "at"), zoned))

    def _step(self, node: Node, path: str, known: tuple[str, ...]) -> str:
        """Read a name; unless other scenarios run too, it must be one that the scenario has."""
        if known and not self._beside:
            return self._one_of(node, path, known)
        return self._text(node, path)

    # ---- values

    def _mapping(self, node: Node | None, path: str, form: Form) -> dict[str, Node]:
        return {} if node is None else self.form(node, form, path) or {}

    def _list(self, node: Node | None, path: str) -> list[Node]:
        if node is None:
            return []
        if isinstance(node, SequenceNode):
            return node.items
        self.mistake(node, path, "this must be a list", "write each item after `- `")
        return []

    def _text(self, node: Node | None, path: str) -> str:
        if node is None:
            return ""
        if isinstance(node, ScalarNode) and node.value is not None:
            return node.text[:2_000]
        self.mistake(node, path, "this must be one text", "write one value")
        return ""

    def _texts(self, node: Node | None, path: str) -> tuple[str, ...]:
        return tuple(self._text(one, path) for one in self._list(node, path))

    def _one_of(self, node: Node | None, path: str, known: Iterable[str]) -> str:
        if node is None:
            return ""
        text = self._text(node, path)
        if text and text not in known:
            mend = did_you_mean(text, known) or f"it is one of {', '.join(known)}"
            self.mistake(node, path, f"there is no `{text[:60]}`", mend)
        return text

    def _whole(self, node: Node | None, path: str, default: int) -> int:
        if node is None:
            return default
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
            return value
        self.mistake(node, path, "this must be a whole number", "write digits without quotes")
        return default

    def _numbers(self, node: Node | None, path: str) -> dict[str, float]:
        found = {}
        for name, value in self._plain_mapping(node, path).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found[name] = float(value)
            else:
                assert isinstance(node, MappingNode)
                message = f"`{name}` must be a number"
                self.mistake(node.items[name], join(path, name), message, "write digits")
        return found

    def _plain_mapping(self, node: Node | None, path: str) -> dict[str, Any]:
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self.mistake(node, path, "this must be a mapping", "write `key: value` lines")
            return {}
        return {key: _plain(value) for key, value in node.items.items()}

    # ---- times

    def _elapsed(self, node: Node | None, path: str) -> int:
        if node is None or (isinstance(node, ScalarNode) and node.text in {"0", "0s"}):
            return 0
        return self.duration(node, path)

    def _time(self, node: Node | None, path: str, zoned: _Zoned) -> int | None:
        """Read a time, after the beginning or (with a sign) before it, or of the calendar."""
        if node is None:
            return None
        text = node.text.strip() if isinstance(node, ScalarNode) else ""
        if text in {"0", "0s"}:
            return zoned.begin
        elapsed = parse_duration(text.lstrip("+-"))
        if elapsed is not None:
            return zoned.begin + (-elapsed if text.startswith("-") else elapsed)
        return self._absolute(node, path, zoned)

    def _absolute(self, node: Node | None, path: str, zoned: _Zoned) -> int:
        if node is None:
            return 0
        text = node.text if isinstance(node, ScalarNode) else ""
        at = parse_date(text, zoned.zone)
        if at is None:
            self.mistake(node, path, f"`{text[:40]}` isn't a time", _TIME)
            return 0
        return at


def _only(key: str) -> Any:
    return next(
        (one for form in (WHEN, THEN) for one in form.fields if one.key == key), None
    ) or msgspec.structs.replace(WHEN.fields[0], key=key, says="")


def _plain(node: Node) -> Any:
    match node:
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [_plain(one) for one in node.items]
        case MappingNode():
            return {key: _plain(one) for key, one in node.items.items()}
