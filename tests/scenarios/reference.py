"""A naive interpreter of scenarios, to check the real one against: journeys are Python generators.

It shares no code with `scenarios` but the formula of ids. It takes the plain dictionaries that a
scenario file holds, with conditions looked up by their text in `CONDITIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from engine.ids import journey_id, message_id
from engine.keyspace import contact_key

HOUR = 3_600_000
KEY = contact_key("t", "c")


@dataclass
class View:
    """What a condition sees."""

    world: Reference
    event: dict[str, Any]
    opened: dict[str, Any]


def _missing(view: View, name: str) -> bool:
    return name not in view.event


CONDITIONS: dict[str, Callable[[View], bool]] = {
    "event.x > 1": lambda v: v.event["x"] > 1,
    "contact.count('a') >= 2": lambda v: v.world.counts.get("a", 0) >= 2,
    "contact.count('b') == 1": lambda v: v.world.counts.get("b", 0) == 1,
    "contact.flag == 'on'": lambda v: v.world.attributes.get("flag") == "on",
    "contact.tagged('t')": lambda v: "t" in v.world.tags,
    "journey.event.x == event.x": lambda v: v.opened["x"] == v.event["x"],
    "contact.score('s') >= 2.0": lambda v: v.world.scores.get("s", 0) >= 2,
}

Request = tuple[str, int | None, Any]
Run = Generator[Request, Any, None]


class Ended(Exception):
    """An `end` step was reached."""


@dataclass
class Journey:
    id: bytes
    scenario: dict[str, Any]
    key: str
    ordinal: int
    opened: dict[str, Any]
    run: Run | None = None
    due: int | None = None
    waiters: list[dict[str, Any]] = field(default_factory=list)
    visits: dict[str, int] = field(default_factory=dict)


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
        self.counts: dict[str, int] = {}
        self.attributes: dict[str, Any] = {}
        self.tags: set[str] = set()
        self.scores: dict[str, int] = {}
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.last: dict[tuple[str, str], int] = {}
        self.journeys: list[Journey] = []
        self.sent: list[tuple[int, str, str, bytes]] = []
        self.assigned: dict[str, str] = {}
        self.rulings: dict[str, dict[str, int]] = {}

    # ---- time

    def until(self, now: int) -> None:
        while due := [one.due for one in self.journeys if one.due is not None and one.due <= now]:
            self.now = max(self.now, min(due))
            self.inputs += 1
            ready = [one for one in self.journeys if one.due is not None and one.due <= self.now]
            for journey in sorted(ready, key=lambda one: (one.due, one.id)):
                if journey in self.journeys:
                    self._resume(journey, None)
            self._watch_state()
        self.now = max(self.now, now)

    def drain(self) -> None:
        while due := [one.due for one in self.journeys if one.due is not None]:
            self.until(min(due))

    # ---- events

    def event(self, name: str, data: dict[str, Any]) -> None:
        self.inputs += 1
        self.counts[name] = self.counts.get(name, 0) + 1
        self.seen.append((name, data))
        for journey in list(self.journeys):
            if self._watched(journey, name, data):
                continue
            for waiter in journey.waiters:
                if waiter["event"] == name and self._fits(waiter, journey, data):
                    self._resume(journey, waiter)
                    break
        for scenario in self.scenarios:
            for entry in scenario["entry"]:
                if entry["event"] == name and self._holds(entry.get("when"), data, data):
                    self._enter(scenario, data)
                    break
        self._watch_state()

    def _holds(self, condition: str | None, event: dict[str, Any], opened: dict[str, Any]) -> bool:
        return condition is None or CONDITIONS[condition](View(self, event, opened))

    def _fits(self, waiter: dict[str, Any], journey: Journey, data: dict[str, Any]) -> bool:
        return self._holds(waiter.get("when"), data, journey.opened)

    def _watched(self, journey: Journey, name: str, data: dict[str, Any]) -> bool:
        for watch in [*journey.scenario.get("goal", []), *journey.scenario.get("exit", [])]:
            if watch.get("event", "") == name and self._holds(
                watch.get("when"), data, journey.opened
            ):
                self.journeys.remove(journey)
                return True
        return False

    def _watch_state(self) -> None:
        for journey in list(self.journeys):
            self._watched(journey, "", journey.opened)

    def _enter(self, scenario: dict[str, Any], data: dict[str, Any]) -> None:
        name, rule = scenario["scenario"], scenario.get("reentry", "never")
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
        for journey in mine:
            self.journeys.remove(journey)
        self.last[name, key] = self.now
        identity = journey_id(KEY, name, key, self.inputs.to_bytes(16))
        journey = Journey(identity, scenario, key, len(self.seen), data)
        journey.run = self._play(journey, scenario["steps"])
        self.journeys.append(journey)
        self._resume(journey, None)

    # ---- journeys

    def _resume(self, journey: Journey, answer: Any) -> None:
        assert journey.run is not None
        journey.due, journey.waiters = None, []
        try:
            _, journey.due, waiters = journey.run.send(answer)
        except (StopIteration, RuntimeError, Ended):
            if journey in self.journeys:
                self.journeys.remove(journey)
        else:
            journey.waiters = waiters

    def _play(self, journey: Journey, steps: list[dict[str, Any]]) -> Run:
        for step in steps or []:
            yield from self._step(journey, step)

    def _step(self, journey: Journey, step: dict[str, Any]) -> Run:
        opened = journey.opened
        if "wait" in step:
            yield "wait", self.now + int(step["wait"][:-1]) * HOUR, []
        elif "wait_for" in step:
            yield from self._wait_for(journey, step)
        elif "if" in step:
            held = self._holds(step["if"], opened, opened)
            yield from self._play(journey, step.get("then" if held else "else", []))
        elif "switch" in step:
            cases = [one for one in step["switch"] if self._holds(one["when"], opened, opened)]
            chosen = cases[0]["then"] if cases else step.get("else", [])
            yield from self._play(journey, chosen)
        elif "repeat" in step:
            for _ in range(step["repeat"]):
                if not self._holds(step.get("while"), opened, opened):
                    break
                yield from self._play(journey, step["steps"])
        elif "split" in step or "experiment" in step:
            variants = step.get("split") or step["experiment"]
            chosen = self._drawn(journey.scenario["scenario"], step, variants)
            yield from self._play(journey, chosen.get("then", []))
        elif "for_each" in step:
            for _ in opened["items"][: step.get("limit", 20)]:
                yield from self._play(journey, step["steps"])
        elif "send" in step:
            visit = journey.visits[step["id"]] = journey.visits.get(step["id"], 0) + 1
            identity = message_id(journey.id, step["id"], visit)
            name = journey.scenario["scenario"]
            self.sent.append((self.now, name, step["id"], identity))
        elif "update" in step:
            self.attributes.update(step["update"])
        elif "tag" in step:
            self.tags |= set(step["tag"].get("add", []))
            self.tags -= set(step["tag"].get("remove", []))
        elif "score" in step:
            name = step["score"]["name"]
            self.scores[name] = self.scores.get(name, 0) + step["score"]["add"]
        else:
            raise Ended

    def _drawn(
        self, scenario: str, step: dict[str, Any], variants: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Draw a variant by hash; of an experiment for good, and by what was decided of it meanwhile."""
        by_name = {one["name"]: one for one in variants}
        place = f"{scenario}/{step['id']}"
        if "experiment" in step and place in self.assigned:
            return by_name[self.assigned[place]]
        salt = blake2b(step.get("salt", place).encode()).digest()
        first = int.from_bytes(blake2b(KEY, key=salt, digest_size=8).digest())
        chosen = _weighed({one["name"]: one.get("weight", 1) for one in variants}, first)
        if "experiment" in step:
            ruling = self.rulings.get(place)
            if ruling is not None and chosen != step.get("holdout"):
                second = blake2b(KEY, key=salt, digest_size=8, person=b"ruling").digest()
                chosen = _weighed(ruling, int.from_bytes(second))
            self.assigned[place] = chosen
        return by_name[chosen]

    def _wait_for(self, journey: Journey, step: dict[str, Any]) -> Run:
        waiters = step["wait_for"]
        chosen = next(self._earlier(journey, step), None)
        if chosen is None:
            timeout = step.get("timeout")
            due = self.now + int(timeout[:-1]) * HOUR if timeout else None
            chosen = yield "wait_for", due, waiters
        then = step.get("else", []) if chosen is None else chosen.get("then", [])
        yield from self._play(journey, then)

    def _earlier(self, journey: Journey, step: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if step.get("since") == "entry":
            for name, data in self.seen[journey.ordinal :]:
                for waiter in step["wait_for"]:
                    if waiter["event"] == name and self._fits(waiter, journey, data):
                        yield waiter
