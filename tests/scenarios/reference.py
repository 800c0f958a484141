"""A naive interpreter of scenarios, to check the real one against: journeys are Python generators.

It shares no code with `scenarios` but the formulas of ids and draws. It takes the plain dictionaries that a
scenario file holds, with conditions looked up by their text in `CONDITIONS`. One contact, whose zone is UTC.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from engine.ids import journey_id, message_id
from engine.keyspace import contact_key

HOUR = 3_600_000
DAY = 24 * HOUR
KEY = contact_key("t", "c")
STARTS_MAX = 20


@dataclass
class State:
    """What conditions see of the contact."""

    attributes: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    scores: dict[str, int] = field(default_factory=dict)

    def copy(self) -> State:
        return State({**self.attributes}, {**self.counts}, {*self.tags}, {**self.scores})


@dataclass
class View:
    """What a condition sees."""

    contact: State
    event: dict[str, Any]
    opened: dict[str, Any]
    caught: dict[str, Any]
    key: str


CONDITIONS: dict[str, Callable[[View], bool]] = {
    "event.x > 1": lambda v: v.event["x"] > 1,
    "has(event.y) && event.y == 1": lambda v: "y" in v.event and v.event["y"] == 1,
    "!(event.y == 1)": lambda v: v.event["y"] != 1,
    "contact.count('a') >= 2": lambda v: v.contact.counts.get("a", 0) >= 2,
    "contact.count('b') == 1": lambda v: v.contact.counts.get("b", 0) == 1,
    "contact.flag == 'on'": lambda v: v.contact.attributes["flag"] == "on",
    "contact.tagged('t')": lambda v: "t" in v.contact.tags,
    "contact.score('s') >= 2.0": lambda v: v.contact.scores.get("s", 0) >= 2,
    "journey.event.x == event.x": lambda v: v.opened["x"] == v.event["x"],
    "journey.key == 'p'": lambda v: v.key == "p",
    "journey.item == 'j'": lambda v: v.caught["item"] == "j",
    "journey.answer.status == 200": lambda v: v.caught["answer"]["status"] == 200,
    "journey.answer.owner == 'o'": lambda v: v.caught["answer"]["owner"] == "o",
    "journey.answer.status == 0": lambda v: v.caught["answer"]["status"] == 0,
    "journey.code == 'gold'": lambda v: v.caught["code"] == "gold",
    "size(journey.rows) == 2": lambda v: len(v.caught["rows"]) == 2,
    "journey.rows.exists(r, r.n == 1)": lambda v: any(one["n"] == 1 for one in v.caught["rows"]),
    "journey.got.x > 1": lambda v: v.caught["got"]["x"] > 1,
}
PRODUCTS = {"i": {"sku": "i", "n": 1}, "z": {"sku": "z", "n": 0}}
"""The list `shop`; what an event's items name beside it isn't there."""

OF_STATE = tuple(one for one in CONDITIONS if "event" not in one and "journey" not in one)
VALUES: dict[str, Callable[[View], Any]] = {
    "= contact.count('a')": lambda v: v.contact.counts.get("a", 0),
    "= event.x + 1": lambda v: v.event["x"] + 1,
    "= event.y": lambda v: v.event["y"],
}

Request = tuple[str, int | None, Any]
Run = Generator[Request, Any, None]


class Ended(Exception):
    """The journey is over: an `end` step, or a calendar wait without a date."""


@dataclass(eq=False)
class Journey:
    id: bytes
    scenario: dict[str, Any]
    key: str
    ordinal: int
    opened: dict[str, Any]
    run: Run | None = None
    due: int | None = None
    waiters: list[dict[str, Any]] = field(default_factory=list)
    calendar: dict[str, Any] | None = None
    since: int = 0
    visits: dict[str, int] = field(default_factory=dict)
    caught: dict[str, Any] = field(default_factory=dict)
    call: int | None = None
    ask: int | None = None

    @property
    def name(self) -> str:
        return str(self.scenario["scenario"])


@dataclass(eq=False)
class Mail:
    """A message that was decided, with its journey as it was then."""

    id: bytes
    journey: Journey
    caught: dict[str, Any]


def _weighed(weights: dict[str, int], number: int) -> str:
    """Lay the names end to end, each as long as its weight, and see where a number falls."""
    line = [name for name, weight in weights.items() for _ in range(weight)]
    return line[number % len(line)]


class Reference:
    def __init__(self, scenarios: list[dict[str, Any]]) -> None:
        self.scenarios = sorted(
            scenarios, key=lambda one: (-one.get("priority", 0), one["scenario"])
        )
        self.now = 0
        self.inputs = 0
        self.contact = State()
        self.seen: list[tuple[str, int, dict[str, Any]]] = []
        self.last: dict[tuple[str, str], int] = {}
        self.journeys: list[Journey] = []
        self.starting: list[tuple[str, dict[str, Any]]] = []
        self.touched = False
        self.mails: list[Mail] = []
        self.sent: list[tuple[int, str, str, bytes]] = []
        self.ended: list[tuple[int, str, str]] = []
        self.told: list[tuple[int, str, str]] = []
        self.cancelled: set[bytes] = set()
        self.asks: list[tuple[str, str, int]] = []
        self.calls: list[tuple[int, str, str, int, dict[str, Any]]] = []
        self.assigned: dict[str, str] = {}
        self.rulings: dict[str, dict[str, int]] = {}

    # ---- time

    def until(self, now: int) -> None:
        while due := [one.due for one in self.journeys if one.due is not None and one.due <= now]:
            self.now = max(self.now, min(due))
            before = self._begin()
            while ready := [one for one in self.journeys if (one.due or self.now + 1) <= self.now]:
                self._resume(min(ready, key=lambda one: (one.due, one.id)), None)
            self._conclude(before)
        self.now = max(self.now, now)

    def drain(self) -> None:
        while due := [one.due for one in self.journeys if one.due is not None]:
            self.until(min(due))

    # ---- inputs

    def put(self, attributes: dict[str, Any]) -> None:
        before = self._begin()
        self.contact.attributes.update(attributes)
        self.touched = bool(attributes)
        self._conclude(before)

    def event(self, name: str, data: dict[str, Any]) -> None:
        before = self._begin()
        living = list(self.journeys)
        self.contact.counts[name] = self.contact.counts.get(name, 0) + 1
        self.seen.append((name, self.now, data))
        for journey in living:
            if journey not in self.journeys or self._watched(journey, name, data):
                continue
            for waiter in journey.waiters:
                if waiter["event"] == name and self._fits(waiter, journey, data):
                    self._resume(journey, (waiter, data))
                    break
        self._reach_mail(living, name, data)
        for scenario in self.scenarios:
            for entry in scenario["entry"]:
                if entry.get("event") == name and self._holds(entry.get("when"), data):
                    self._enter(scenario, data)
                    break
        self._conclude(before)

    def answer(self, call: int, status: int, fields: dict[str, Any]) -> None:
        """Answer the n-th call that was made; nobody may wait for it any more."""
        before = self._begin()
        for journey in self.journeys:
            if journey.call == call:
                self._resume(journey, (status, fields))
                break
        self._conclude(before)

    def code(self, ask: int, code: str | None) -> None:
        """Answer the n-th question for a code; None: there is none."""
        before = self._begin()
        for journey in self.journeys:
            if journey.ask == ask:
                self._resume(journey, code)
                break
        self._conclude(before)

    def _begin(self) -> State:
        self.inputs += 1
        self.touched = False
        return self.contact.copy()

    def _conclude(self, before: State) -> None:
        """Let follow what a change of the contact entails."""
        for scenario in self.scenarios:
            for entry in scenario["entry"]:
                condition = entry.get("becomes")
                if condition and self._holds(condition, {}):
                    after, self.contact = self.contact, before
                    held = self._holds(condition, {})
                    self.contact = after
                    if not held:
                        self._enter(scenario, {})
        for _ in range(STARTS_MAX):
            if self.starting:
                name, data = self.starting.pop(0)
                self._enter(next(one for one in self.scenarios if one["scenario"] == name), data)
        self.starting.clear()
        if self.touched:
            self._retime()
        for journey in list(self.journeys):
            self._watched(journey, "", journey.opened)

    def _holds(
        self, condition: str | None, event: dict[str, Any], journey: Journey | Mail | None = None
    ) -> bool:
        """Without a value it doesn't hold."""
        if condition is None:
            return True
        try:
            return CONDITIONS[condition](self._view(event, journey))
        except KeyError:
            return False

    def _view(self, event: dict[str, Any], of: Journey | Mail | None) -> View:
        if of is None:
            return View(self.contact, event, {}, {}, "")
        journey = of.journey if isinstance(of, Mail) else of
        return View(self.contact, event, journey.opened, of.caught, journey.key)

    def _fits(self, waiter: dict[str, Any], journey: Journey, data: dict[str, Any]) -> bool:
        return self._holds(waiter.get("when"), data, journey)

    # ---- goals and exits

    def _watched(self, journey: Journey, name: str, data: dict[str, Any]) -> bool:
        reason = self._watch(journey, journey.scenario, name, data)
        if reason:
            self._end(journey, reason)
        return bool(reason)

    def _watch(
        self, of: Journey | Mail, scenario: dict[str, Any], name: str, data: dict[str, Any]
    ) -> str:
        for kind in ("goal", "exit"):
            for watch in scenario.get(kind, []):
                if watch.get("event", "") == name and self._holds(watch.get("when"), data, of):
                    return f"{kind}:{watch['name']}"
        return ""

    def _reach_mail(self, living: list[Journey], name: str, data: dict[str, Any]) -> None:
        """Goals and exits by an event reach mail of journeys that had ended before it."""
        for mail in self.mails:
            if mail.journey not in living and self._watch(mail, mail.journey.scenario, name, data):
                self.cancelled.add(mail.id)

    def _end(self, journey: Journey, reason: str) -> None:
        """End a journey from outside: its mail is cancelled."""
        self.journeys.remove(journey)
        self.ended.append((self.now, journey.name, reason))
        self.cancelled |= {one.id for one in self.mails if one.journey is journey}

    # ---- entries

    def _enter(self, scenario: dict[str, Any], data: dict[str, Any]) -> None:
        name, rule = scenario["scenario"], scenario.get("reentry", "never")
        if "key" in scenario and "k" not in data:
            return
        key = str(data["k"]) if "key" in scenario else ""
        last = self.last.get((name, key))
        if last is not None and rule == "never":
            return
        pause = int(rule["after"][:-1]) * HOUR if isinstance(rule, dict) else 0
        if last is not None and self.now < last + pause:
            return
        mine = [one for one in self.journeys if one.scenario is scenario and one.key == key]
        if mine and rule != "restart":
            return
        rivals = [one for one in self.journeys if self._rivals(one.scenario, scenario)]
        priority = scenario.get("priority", 0)
        if any(one.scenario.get("priority", 0) >= priority for one in rivals):
            return
        for journey in [one for one in self.journeys if one in mine or one in rivals]:
            self._end(journey, "restarted" if journey in mine else "displaced")
        self.last[name, key] = self.now
        identity = journey_id(KEY, name, key, self.inputs.to_bytes(16))
        journey = Journey(identity, scenario, key, len(self.seen), data)
        journey.run = self._play(journey, scenario["steps"])
        self.journeys.append(journey)
        self._resume(journey, None)

    @staticmethod
    def _rivals(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return one is not other and "group" in other and one.get("group") == other["group"]

    # ---- journeys

    def _resume(self, journey: Journey, answer: Any) -> None:
        """Let a journey go on; one that was stopped on the way runs on to where it would wait, and is gone."""
        assert journey.run is not None
        journey.due, journey.waiters, journey.calendar = None, [], None
        journey.call = journey.ask = None
        reason = ""
        try:
            kind, journey.due, more = journey.run.send(answer)
        except (StopIteration, Ended) as end:
            if isinstance(end, Ended):
                reason = str(end)
        else:
            journey.since = self.now
            if kind == "wait_for":
                journey.waiters = more
            elif kind == "calendar":
                journey.calendar = more
            elif kind == "coupon":
                journey.ask = more
            elif kind == "webhook":
                journey.call = more
            return
        self.ended.append((self.now, journey.name, reason))
        if journey in self.journeys:
            self.journeys.remove(journey)

    def _play(self, journey: Journey, steps: list[dict[str, Any]]) -> Run:
        for step in steps or []:
            yield from self._step(journey, step)

    def _step(self, journey: Journey, step: dict[str, Any]) -> Run:
        kind = next(one for one in step if one in KINDS)
        played = KINDS[kind](self, journey, step)
        if played is not None:
            yield from played

    def _wait(self, journey: Journey, step: dict[str, Any]) -> Run:
        spec = step["wait"]
        if isinstance(spec, str):
            yield "wait", self.now + int(spec[:-1]) * HOUR, None
            return
        due = self._due(spec, self.now)
        if due is None or (due < self.now and spec.get("past") == "end"):
            raise Ended("no_date" if due is None else "date_past")
        if due > self.now:
            yield "calendar", due, spec
        assert journey is not None

    def _due(self, spec: dict[str, Any], since: int) -> int | None:
        begin = since + int(spec.get("for", "0h")[:-1]) * HOUR
        if "date" in spec:
            day = self.contact.attributes.get("day")
            if day is None:
                return None
            midnight = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
            begin = round(midnight.timestamp() * 1000) + spec.get("offset", 0) * DAY
        if "at" in spec:
            at = int(spec["at"][:2]) * HOUR
            begin += (at - begin) % DAY
        return begin

    def _retime(self) -> None:
        """Attributes were set: work out anew when calendar waits are over."""
        for journey in list(self.journeys):
            if journey.calendar is not None:
                due = self._due(journey.calendar, journey.since)
                if due is None:
                    self._end(journey, "no_date")
                elif due < self.now and journey.calendar.get("past") == "end":
                    self._end(journey, "date_past")
                else:
                    journey.due = due

    def _wait_for(self, journey: Journey, step: dict[str, Any]) -> Run:
        chosen = next(self._earlier(journey, step), None)
        if chosen is None:
            timeout = step.get("timeout")
            due = self.now + int(timeout[:-1]) * HOUR if timeout else None
            chosen = yield "wait_for", due, step["wait_for"]
        if chosen is None:
            yield from self._play(journey, step.get("else", []))
            return
        waiter, data = chosen
        if "as" in waiter:
            journey.caught = {**journey.caught, waiter["as"]: data}
        yield from self._play(journey, waiter.get("then", []))

    def _earlier(self, journey: Journey, step: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
        since = step.get("since", "step")
        for number, (name, at, data) in enumerate(self.seen, 1):
            if since == "step" or number == journey.ordinal:
                continue
            if since == "entry" and number < journey.ordinal:
                continue
            if since != "entry" and at < self.now - int(since[:-1]) * HOUR:
                continue
            for waiter in step["wait_for"]:
                if waiter["event"] == name and self._fits(waiter, journey, data):
                    yield waiter, data

    def _if(self, journey: Journey, step: dict[str, Any]) -> Run:
        held = self._holds(step["if"], journey.opened, journey)
        return self._play(journey, step.get("then" if held else "else", []))

    def _switch(self, journey: Journey, step: dict[str, Any]) -> Run:
        for case in step["switch"]:
            if self._holds(case["when"], journey.opened, journey):
                return self._play(journey, case["then"])
        return self._play(journey, step.get("else", []))

    def _split(self, journey: Journey, step: dict[str, Any]) -> Run:
        """Draw a variant by hash; of an experiment for good, and by what was decided of it meanwhile."""
        variants = step.get("split") or step["experiment"]
        by_name = {one["name"]: one for one in variants}
        place = f"{journey.name}/{step['id']}"
        chosen = self.assigned.get(place) if "experiment" in step else None
        if chosen is None:
            salt = blake2b(step.get("salt", place).encode()).digest()
            first = int.from_bytes(blake2b(KEY, key=salt, digest_size=8).digest())
            chosen = _weighed({one["name"]: one.get("weight", 1) for one in variants}, first)
            ruling = self.rulings.get(place) if "experiment" in step else None
            if ruling is not None and chosen != step.get("holdout"):
                second = blake2b(KEY, key=salt, digest_size=8, person=b"ruling").digest()
                chosen = _weighed(ruling, int.from_bytes(second))
            if "experiment" in step:
                self.assigned[place] = chosen
        return self._play(journey, by_name[chosen].get("then", []))

    def _repeat(self, journey: Journey, step: dict[str, Any]) -> Run:
        for _ in range(step["repeat"]):
            if not self._holds(step.get("while"), journey.opened, journey):
                break
            yield from self._play(journey, step["steps"])

    def _for_each(self, journey: Journey, step: dict[str, Any]) -> Run:
        for item in journey.opened.get("items", [])[: step.get("limit", 20)]:
            journey.caught = {**journey.caught, step.get("as", "item"): item}
            yield from self._play(journey, step["steps"])

    def _send(self, journey: Journey, step: dict[str, Any]) -> None:
        visit = journey.visits[step["id"]] = journey.visits.get(step["id"], 0) + 1
        identity = message_id(journey.id, step["id"], visit)
        self.sent.append((self.now, journey.name, step["id"], identity))
        self.mails.append(Mail(identity, journey, journey.caught))

    def _update(self, journey: Journey, step: dict[str, Any]) -> None:
        for name, value in step["update"].items():
            new = value
            if isinstance(value, str) and value.startswith("="):
                try:
                    new = VALUES[value](self._view(journey.opened, journey))
                except KeyError:
                    continue
            self.contact.attributes[name] = new
            self.touched = True

    def _tag(self, _: Journey, step: dict[str, Any]) -> None:
        self.contact.tags -= set(step["tag"].get("remove", []))
        self.contact.tags |= set(step["tag"].get("add", []))

    def _score(self, _: Journey, step: dict[str, Any]) -> None:
        name, scores = step["score"]["name"], self.contact.scores
        scores[name] = scores.get(name, 0) + step["score"]["add"]

    def _start(self, journey: Journey, step: dict[str, Any]) -> None:
        self.starting.append((step["start"], journey.opened))

    def _stop(self, _: Journey, step: dict[str, Any]) -> None:
        for journey in list(self.journeys):
            if journey.name == step["stop"]:
                self._end(journey, "stopped")
        self.cancelled |= {one.id for one in self.mails if one.journey.name == step["stop"]}

    def _notify(self, journey: Journey, step: dict[str, Any]) -> None:
        self.told.append((self.now, journey.name, step["id"]))

    def _webhook(self, journey: Journey, step: dict[str, Any]) -> Run:
        spec, visit = step["webhook"], journey.visits.get(step["id"], 0) + 1
        journey.visits[step["id"]] = visit
        data = {}
        for name, value in spec.get("data", {}).items():
            data[name] = value
            if value.startswith("="):
                try:
                    data[name] = VALUES[value](self._view(journey.opened, journey))
                except KeyError:
                    del data[name]
        self.calls.append((self.now, journey.name, step["id"], visit, data))
        due = self.now + int(step.get("timeout", "24h")[:-1]) * HOUR
        answer = yield "webhook", due, len(self.calls) - 1
        status, fields = answer or (0, {})
        if "as" in spec:
            kept = {name: fields[name] for name in spec.get("keep", []) if name in fields}
            journey.caught = {**journey.caught, spec["as"]: {**kept, "status": status}}
        if not 200 <= status < 300:
            yield from self._play(journey, step.get("else", []))

    def _coupon(self, journey: Journey, step: dict[str, Any]) -> Run:
        spec, visit = step["coupon"], journey.visits.get(step["id"], 0) + 1
        journey.visits[step["id"]] = visit
        self.asks.append((journey.name, step["id"], visit))
        due = self.now + int(spec.get("timeout", "1h")[:-1]) * HOUR
        code = yield "coupon", due, len(self.asks) - 1
        if code is None:
            yield from self._play(journey, step.get("else", []))
        else:
            journey.caught = {**journey.caught, spec.get("as", "coupon"): code}

    def _products(self, journey: Journey, step: dict[str, Any]) -> Run:
        spec = step["products"]
        asked = [*journey.opened["items"], *spec.get("instead", [])]
        rows = []
        for key in asked if spec["from"] == "shop" else []:
            if key in PRODUCTS and PRODUCTS[key] not in rows:
                rows.append(PRODUCTS[key])
        if rows:
            journey.caught = {**journey.caught, spec["as"]: rows[: spec.get("limit", 6)]}
        else:
            yield from self._play(journey, step.get("else", []))

    def _end_step(self, _: Journey, step: dict[str, Any]) -> None:
        raise Ended(step["end"])


KINDS: dict[str, Callable[[Reference, Journey, dict[str, Any]], Run | None]] = {
    "wait": Reference._wait,
    "wait_for": Reference._wait_for,
    "if": Reference._if,
    "switch": Reference._switch,
    "split": Reference._split,
    "experiment": Reference._split,
    "repeat": Reference._repeat,
    "for_each": Reference._for_each,
    "send": Reference._send,
    "update": Reference._update,
    "tag": Reference._tag,
    "score": Reference._score,
    "start": Reference._start,
    "stop": Reference._stop,
    "notify": Reference._notify,
    "webhook": Reference._webhook,
    "coupon": Reference._coupon,
    "products": Reference._products,
    "end": Reference._end_step,
}
