"""Reading steps: one method for each kind, each from a mapping to its Struct of the model."""

from __future__ import annotations

__all__ = ("StepReader",)

from typing import Any, Final, assert_never

from scenarios.document import MappingNode, Node, ScalarNode, SequenceNode
from scenarios.experiment_reader import ExperimentReader
from scenarios.language import CLASSES, PARTS, STEP_KINDS, Form
from scenarios.mistakes import did_you_mean
from scenarios.model import (
    CALL_MS,
    COUPON_MS,
    WITHIN_MS,
    Calendar,
    Case,
    Coupon,
    End,
    ForEach,
    If,
    Notify,
    Products,
    Repeat,
    Score,
    Send,
    Split,
    Start,
    Step,
    Stop,
    Switch,
    Tag,
    Update,
    Variant,
    Wait,
    Waiter,
    WaitFor,
    Webhook,
)
from scenarios.scalars import Written, join

_Items = dict[str, Node]
_TRANSACTIONAL: Final = "transactional"


class StepReader(ExperimentReader):
    """Reads steps. `places` has line, column and path of each, by the identity of its object."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.places: dict[int, tuple[int, int, str]] = {}
        self._lines: dict[str, int] = {}

    def steps(self, node: Node | None, path: str) -> tuple[Step, ...]:
        """Read a list of steps; what isn't one is left out."""
        if node is None or (isinstance(node, ScalarNode) and node.value is None):
            return ()
        if not isinstance(node, SequenceNode):
            self.mistake(node, path, "steps must be a list", "begin each step with `- id: …`")
            return ()
        read = (self._step(item, f"{path}[{at}]") for at, item in enumerate(node.items))
        return tuple(step for step in read if step is not None)

    def _step(self, node: Node, path: str) -> Step | None:
        if not isinstance(node, MappingNode):
            mend = "write `- id: a-week`, and below it `wait: 7d`"
            self.mistake(node, path, "a step must be a mapping", mend)
            return None
        kinds = [kind for kind in STEP_KINDS if kind in node.items]
        if len(kinds) != 1:
            self._unclear(node, kinds, path)
            return None
        kind = kinds[0]
        items = self.form(node, STEP_KINDS[kind], path) or {}
        step = self._of_kind(kind, items, self._id(node, kind, path), path)
        self.places[id(step)] = (node.line, node.column, path)
        return step

    def _unclear(self, node: MappingNode, kinds: list[str], path: str) -> None:
        if kinds:
            second = node.keys[kinds[1]]
            message = f"a step does one thing, this one has {' and '.join(kinds)}"
            mend = f"make `{kinds[1]}` a step of its own, with its own id"
            self.mistake(second, path, message, mend)
            return
        for key, place in node.keys.items():
            if key != "id" and (mend := did_you_mean(key, STEP_KINDS)):
                self.mistake(place, join(path, key), f"unknown kind of step `{key}`", mend)
                return
        message = "this step does nothing"
        self.mistake(node, path, message, f"give it one of {', '.join(STEP_KINDS)}")

    def _id(self, node: MappingNode, kind: str, path: str) -> str:
        identity = self.scalar(STEP_KINDS[kind], node.items, "id", path)
        if not identity:
            return ""
        if identity in self._lines:
            message = f"the id `{identity}` is taken by the step on line {self._lines[identity]}"
            mend = f"name it `{identity}-2`, for instance"
            self.mistake(node.items["id"], join(path, "id"), message, mend)
        else:
            self._lines[identity] = node.line
        return identity

    def _of_kind(self, kind: str, items: _Items, identity: str, path: str) -> Step:
        readers = {
            "wait": self._wait,
            "wait_for": self._wait_for,
            "if": self._if,
            "switch": self._switch,
            "split": self._split,
            "experiment": self._experiment,
            "for_each": self._for_each,
            "repeat": self._repeat,
            "send": self._send,
            "update": self._update,
            "score": self._score,
            "tag": self._tag,
            "start": self._start,
            "stop": self._stop,
            "notify": self._notify,
            "webhook": self._webhook,
            "coupon": self._coupon,
            "products": self._products,
            "end": self._end,
        }
        return readers[kind](items, identity, path)

    # ---- waiting

    def _wait(self, items: _Items, identity: str, path: str) -> Step:
        node, at = items["wait"], join(path, "wait")
        if not isinstance(node, MappingNode):
            return Wait(identity, self.duration(node, at))
        form = PARTS["calendar"]
        parts = self.form(node, form, at, told="a calendar wait") or {}
        calendar = Calendar(
            date=self.expression(parts.get("date"), join(at, "date"), "step", "dyn"),
            offset_days=self.integer(form, parts, "offset", at, 0),
            at_minute=self.minute(parts, "at", at),
            days=self.days(parts.get("days"), join(at, "days")),
            from_minute=self.minute(parts, "from", at),
            to_minute=self.minute(parts, "to", at),
            zone=self.scalar(form, parts, "zone", at),
            past=_choice(self.scalar(form, parts, "past", at), "go-on"),
            holidays=self.scalar(form, parts, "holidays", at),
            best_hour=self.scalar(form, parts, "hour", at) == "best",
        )
        self._contradictions(node, parts, at)
        return Wait(identity, self.duration(parts.get("for"), join(at, "for")), calendar)

    def _contradictions(self, node: MappingNode, parts: _Items, path: str) -> None:
        if "at" in parts and ("from" in parts or "to" in parts):
            self.mistake(node, path, "a time of day and a window exclude each other", "keep one")
        elif ("from" in parts) != ("to" in parts):
            missing = "to" if "from" in parts else "from"
            self.mistake(node, path, f"the window has no `{missing}`", f"add `{missing}:`")
        if "hour" in parts and "at" not in parts:
            message = "who has read little has no best hour"
            self.mistake(node, path, message, "add `at:`, the time for those")
        if "date" in parts and "for" in parts:
            self.mistake(node, path, "`date` and `for` exclude each other", "use `offset` for days")
        if "offset" in parts and "date" not in parts:
            self.mistake(node, path, "`offset` shifts a `date`, and there is none", "add `date:`")
        if not parts:
            self.mistake(node, path, "this wait waits for nothing", "add `for`, `date` or `at`")

    def _wait_for(self, items: _Items, identity: str, path: str) -> Step:
        return WaitFor(
            identity,
            self._waiters(items["wait_for"], join(path, "wait_for")),
            self.duration(items.get("timeout"), join(path, "timeout")),
            self.steps(items.get("else"), join(path, "else")),
            self._look_back(items.get("since"), join(path, "since")),
        )

    def _look_back(self, node: Node | None, path: str) -> int:
        if isinstance(node, ScalarNode) and node.text[:1].isdigit():
            return self.duration(node, path)
        field = STEP_KINDS["wait_for"].field("since")
        return -1 if node is not None and self.text(node, field, path) == "entry" else 0

    def _waiters(self, node: Node, path: str) -> tuple[Waiter, ...]:
        if isinstance(node, ScalarNode):
            return (Waiter(self.text(node, PARTS["waiter"].field("event"), path)),)
        if isinstance(node, MappingNode):
            return (self._waiter(node, path),)
        if not node.items:
            self.mistake(node, path, "no event is waited for", "name at least one")
        return tuple(self._waiter(item, f"{path}[{at}]") for at, item in enumerate(node.items))

    def _waiter(self, node: Node, path: str) -> Waiter:
        form = PARTS["waiter"]
        if isinstance(node, ScalarNode):
            return Waiter(self.text(node, form.field("event"), path))
        items = self.form(node, form, path, told="an event to wait for") or {}
        event = self.scalar(form, items, "event", path)
        return Waiter(
            event,
            self.condition(items.get("when"), join(path, "when"), "waiter", event),
            self.scalar(form, items, "as", path),
            self.steps(items.get("then"), join(path, "then")),
        )

    # ---- branching

    def _if(self, items: _Items, identity: str, path: str) -> Step:
        return If(
            identity,
            self.condition(items["if"], join(path, "if"), "step"),
            self.steps(items.get("then"), join(path, "then")),
            self.steps(items.get("else"), join(path, "else")),
        )

    def _switch(self, items: _Items, identity: str, path: str) -> Step:
        form = PARTS["case"]
        cases: list[Case] = []
        for node, at in self._listed(items["switch"], join(path, "switch"), "cases"):
            parts = self.form(node, form, at) or {}
            condition = self.condition(parts.get("when"), join(at, "when"), "step")
            cases.append(Case(condition, self.steps(parts.get("then"), join(at, "then"))))
        return Switch(identity, tuple(cases), self.steps(items.get("else"), join(path, "else")))

    def _listed(self, node: Node, path: str, what: str) -> list[tuple[Node, str]]:
        if isinstance(node, SequenceNode) and node.items:
            return [(item, f"{path}[{at}]") for at, item in enumerate(node.items)]
        self.mistake(node, path, f"a list of {what} is needed", "begin each with `- `")
        return []

    def _split(self, items: _Items, identity: str, path: str) -> Step:
        variants = self._variants(items["split"], join(path, "split"))
        return Split(identity, variants, self.scalar(STEP_KINDS["split"], items, "salt", path))

    def _experiment(self, items: _Items, identity: str, path: str) -> Step:
        form = STEP_KINDS["experiment"]
        variants = self._variants(items["experiment"], join(path, "experiment"))
        holdout = self.scalar(form, items, "holdout", path)
        names = [variant.name for variant in variants]
        if holdout and holdout not in names:
            mend = did_you_mean(holdout, names) or f"there are {', '.join(names)}"
            self.mistake(items["holdout"], join(path, "holdout"), "no such variant", mend)
        metric = self.scalar(form, items, "metric", path)
        if "guard" in items and "decide" not in items:
            mend = "add `decide:`, or take `guard` away"
            self.mistake(items["guard"], join(path, "guard"), "nothing is decided here", mend)
        deciding = None
        if "decide" in items:
            deciding = self.deciding(items, path, metric, len(set(names) - {holdout}))
        return Split(
            identity,
            variants,
            self.scalar(form, items, "salt", path),
            experiment=True,
            metric=metric,
            within_ms=self.duration(items.get("within"), join(path, "within")) or WITHIN_MS,
            holdout=holdout,
            deciding=deciding,
        )

    def _variants(self, node: Node, path: str) -> tuple[Variant, ...]:
        form = PARTS["variant"]
        variants: list[Variant] = []
        for item, at in self._listed(node, path, "variants"):
            parts = self.form(item, form, at) or {}
            name = self.scalar(form, parts, "name", at)
            if name and name in {variant.name for variant in variants}:
                self.mistake(item, at, f"the variant `{name}` appears twice", "rename one")
            weight = self.integer(form, parts, "weight", at, 1)
            variants.append(Variant(name, weight, self.steps(parts.get("then"), join(at, "then"))))
        if variants and not sum(variant.weight for variant in variants):
            self.mistake(node, path, "all weights are 0", "give one a weight")
        return tuple(variants)

    # ---- loops

    def _for_each(self, items: _Items, identity: str, path: str) -> Step:
        form = STEP_KINDS["for_each"]
        return ForEach(
            identity,
            self.expression(items["for_each"], join(path, "for_each"), "step", "list"),
            self.scalar(form, items, "as", path) or "item",
            self.steps(items.get("steps"), join(path, "steps")),
            self.integer(form, items, "limit", path, 20),
        )

    def _repeat(self, items: _Items, identity: str, path: str) -> Step:
        return Repeat(
            identity,
            self.integer(STEP_KINDS["repeat"], items, "repeat", path, 1),
            self.steps(items.get("steps"), join(path, "steps")),
            self.condition(items.get("while"), join(path, "while"), "step"),
        )

    # ---- doing

    def _part(self, node: Node, name: str, key: str, path: str) -> tuple[Form, _Items]:
        """Read a form that may be written as the value of its first key alone."""
        form = PARTS[name]
        if isinstance(node, ScalarNode) and key:
            node = MappingNode({key: node}, {key: node}, node.line, node.column)
        return form, self.form(node, form, path, told=name) or {}

    def _send(self, items: _Items, identity: str, path: str) -> Step:
        node, at = items["send"], join(path, "send")
        form, parts = self._part(node, "sending", "template", at)
        stream = self.scalar(form, parts, "stream", at) or "marketing"
        topic = self.scalar(form, parts, "topic", at)
        if "topic" not in parts and stream != _TRANSACTIONAL:
            mend = "add `topic:`, or `stream: transactional` if the contact asked for this mail"
            self.mistake(node, at, f"mail on the stream `{stream}` needs a consent topic", mend)
        named = self.scalar(form, parts, "class", at)
        return Send(
            identity,
            self.scalar(form, parts, "template", at),
            stream,
            topic,
            CLASSES.get(named, 1 if stream == _TRANSACTIONAL else 2),
            self.duration(parts.get("expires"), join(at, "expires")),
            self.duration(parts.get("late"), join(at, "late")),
            _choice(self.scalar(form, parts, "capped", at), "skip"),
            _choice(self.scalar(form, parts, "no_consent", at), "skip"),
        )

    def _update(self, items: _Items, identity: str, path: str) -> Step:
        node, at = items["update"], join(path, "update")
        if not isinstance(node, MappingNode) or not node.items:
            self.mistake(node, at, "update needs attributes", "write `update: {stage: active}`")
            return Update(identity, {})
        values = {key: self._value(value, join(at, key)) for key, value in node.items.items()}
        return Update(identity, values)

    def _value(self, node: Node, path: str, depth: int = 0) -> Any:
        """Read an attribute's value; only a text at the top may be an expression."""
        match node:
            case ScalarNode(text=text) if depth == 0 and text.startswith("="):
                self.expressions.append(Written(text[1:], node, path, "step", "dyn", offset=1))
                return text
            case ScalarNode(value=value):
                return value
            case SequenceNode(items=items):
                return [self._value(item, path, depth + 1) for item in items]
            case MappingNode(items=entries):
                return {key: self._value(value, path, depth + 1) for key, value in entries.items()}
            case _:
                assert_never(node)

    def _score(self, items: _Items, identity: str, path: str) -> Step:
        at = join(path, "score")
        form, parts = self._part(items["score"], "scoring", "", at)
        return Score(
            identity,
            self.scalar(form, parts, "name", at),
            self.integer(form, parts, "add", at, 0),
            self.duration(parts.get("half_life"), join(at, "half_life")),
        )

    def _tag(self, items: _Items, identity: str, path: str) -> Step:
        node, at = items["tag"], join(path, "tag")
        if not isinstance(node, MappingNode):
            return Tag(identity, self._names(node, at))
        _, parts = self._part(node, "tagging", "", at)
        if not parts:
            self.mistake(node, at, "no tag is named", "add `add:` or `remove:`")
        names = [self._names(parts[key], join(at, key)) if key in parts else () for key in _TAGS]
        return Tag(identity, *names)

    def _names(self, node: Node, path: str) -> tuple[str, ...]:
        field = PARTS["tagging"].field("add")
        parts = node.items if isinstance(node, SequenceNode) else [node]
        return tuple(self.text(part, field, path) for part in parts)

    def _start(self, items: _Items, identity: str, path: str) -> Step:
        return Start(identity, self.scalar(STEP_KINDS["start"], items, "start", path))

    def _stop(self, items: _Items, identity: str, path: str) -> Step:
        return Stop(identity, self.scalar(STEP_KINDS["stop"], items, "stop", path))

    def _notify(self, items: _Items, identity: str, path: str) -> Step:
        at = join(path, "notify")
        form, parts = self._part(items["notify"], "notifying", "channel", at)
        channel = self.scalar(form, parts, "channel", at)
        return Notify(identity, channel, self.scalar(form, parts, "text", at))

    def _webhook(self, items: _Items, identity: str, path: str) -> Step:
        at = join(path, "webhook")
        form, parts = self._part(items["webhook"], "calling", "endpoint", at)
        data: dict[str, Any] = {}
        if (node := parts.get("data")) is not None:
            if isinstance(node, MappingNode):
                here = join(at, "data")
                data = {key: self._value(one, join(here, key)) for key, one in node.items.items()}
            else:
                self.mistake(node, join(at, "data"), "data has names", "write `data: {plan: pro}`")
        caught = self.scalar(form, parts, "as", at)
        keep = self._names(parts["keep"], join(at, "keep")) if "keep" in parts else ()
        if "status" in keep:
            message = "`status` is the reply's, and always kept"
            self.mistake(parts["keep"], join(at, "keep"), message, "take it out")
        elif keep and not caught:
            message = "what is kept of the answer has no name"
            self.mistake(parts["keep"], join(at, "keep"), message, "add `as: answer`, for instance")
        return Webhook(
            identity,
            self.scalar(form, parts, "endpoint", at),
            data,
            caught,
            keep,
            self.duration(items.get("timeout"), join(path, "timeout")) or CALL_MS,
            self.steps(items.get("else"), join(path, "else")),
        )

    def _coupon(self, items: _Items, identity: str, path: str) -> Step:
        at = join(path, "coupon")
        form, parts = self._part(items["coupon"], "taking", "pool", at)
        return Coupon(
            identity,
            self.scalar(form, parts, "pool", at),
            self.scalar(form, parts, "as", at) or "coupon",
            self.duration(parts.get("timeout"), join(at, "timeout")) or COUPON_MS,
            self.steps(items.get("else"), join(path, "else")),
        )

    def _products(self, items: _Items, identity: str, path: str) -> Step:
        node, at = items["products"], join(path, "products")
        form, parts = self._part(node, "finding", "", at)
        instead = tuple(
            self.text(one, form.field("instead"), join(at, "instead"))
            for one in _listed_or_one(parts.get("instead"))
        )
        if parts and "instead" not in parts and "else" not in items:
            mend = "add `else:` with what to do then, or `instead:` with keys that stand in"
            self.mistake(node, at, "nothing is said for when no product is found", mend)
        return Products(
            identity,
            self.scalar(form, parts, "from", at),
            self.expression(parts.get("keys"), join(at, "keys"), "step", "dyn"),
            self.scalar(form, parts, "as", at) or "products",
            self.integer(form, parts, "limit", at, 6),
            instead,
            self.steps(items.get("else"), join(path, "else")),
        )

    def _end(self, items: _Items, _identity: str, path: str) -> Step:
        return End(self.scalar(STEP_KINDS["end"], items, "end", path))


_TAGS: Final = ("add", "remove")


def _listed_or_one(node: Node | None) -> list[Node]:
    """Give the items of a list, or what stands in place of one."""
    if node is None:
        return []
    return list(node.items) if isinstance(node, SequenceNode) else [node]


def _choice(text: str, default: str) -> Any:
    """Give a choice that was checked, or the default."""
    return text or default
