"""How far the journeys of a run came, read from the records of its stores once its workers have ended."""

from __future__ import annotations

__all__ = ("read_funnels",)

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from actors.report.run import FunnelStep, ScenarioFunnel, StepKind
from actors.worker.assembly import open_store
from actors.worker.wire import WorkerSettings
from deliverability.message.records import OutcomeRecord
from engine.config import Config
from engine.rows import RECORD
from engine.store.protocol import Store, partition_prefix
from scenarios import model
from scenarios.checking import load

PAGE = 500
_DECODE = msgspec.msgpack.Decoder(list[tuple[Any, Any, Any, Any, Any, list[Any]]])
_KINDS: Mapping[type[Any], StepKind] = {
    model.Send: "send",
    model.Wait: "wait",
    model.WaitFor: "wait_for",
    model.Webhook: "webhook",
    model.If: "if",
    model.Switch: "if",
    model.Split: "if",
}
"""Steps that leave a fact in the records; the others take no time and no decision."""


class _Counted:
    """What the facts of all journeys come to, by scenario."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.reached: Counter[tuple[str, str]] = Counter()

    def partition(self, store: Store, number: int) -> None:
        """Count a partition's records; a journey lives in one, so what must be remembered ends with it."""
        scenarios: dict[bytes, str] = {}
        seen: set[tuple[bytes, str]] = set()
        for fact, detail in _facts(store, number):
            journey = detail.get("journey")
            if not isinstance(journey, bytes):
                continue
            if fact == "journey_opened":
                scenarios[journey] = detail["scenario"]
                self.opened[detail["scenario"]] += 1
            elif fact == "journey_ended":
                self.ended[scenarios.pop(journey, detail.get("scenario", ""))] += 1
            elif "step" in detail and journey in scenarios:
                place = (journey, detail["step"])
                if place not in seen:
                    seen.add(place)
                    self.reached[scenarios[journey], detail["step"]] += 1


async def read_funnels(
    config: Config, count: int, texts: Mapping[str, str], final: Sequence[OutcomeRecord]
) -> list[ScenarioFunnel]:
    """Count opened, ended and waiting journeys, and how many reached each step.

    Args:
        config: whose stores; one in memory has ended with its worker, and tells nothing.
        count: of stores.
        texts: the scenarios of the run, by file.
        final: how messages ended.
    """
    if config.store.kind == "memory":
        return []
    counted = _Counted()
    for index in range(count):
        store = await open_store(WorkerSettings(index, count, config.data_dir, config))
        try:
            for number in range(index, config.store.partitions, count):
                counted.partition(store, number)
        finally:
            store.close()
    sent = Counter((one.scenario, one.step) for one in final if one.first_attempt)
    delivered = Counter((one.scenario, one.step) for one in final if one.kind == "delivered")
    return [
        _funnel(load(text, file), counted, sent, delivered) for file, text in sorted(texts.items())
    ]


def _funnel(
    scenario: model.Scenario,
    counted: _Counted,
    sent: Counter[tuple[str, str]],
    delivered: Counter[tuple[str, str]],
) -> ScenarioFunnel:
    name = scenario.name
    steps = []
    for step in model.walk(scenario.steps):
        kind = _KINDS.get(type(step))
        if kind is not None and not isinstance(step, model.End):
            place = (name, step.id)
            steps.append(
                FunnelStep(step.id, kind, counted.reached[place], sent[place], delivered[place])
            )
    opened, ended = counted.opened[name], counted.ended[name]
    return ScenarioFunnel(name, scenario.version, opened, ended, opened - ended, steps)


def _facts(store: Store, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read all facts of a partition's records, in order."""
    start = partition_prefix(number) + RECORD
    end = partition_prefix(number) + bytes((RECORD[0] + 1,))
    while rows := store.scan(start, end, PAGE):
        for _, raw in rows:
            for entry in _DECODE.decode(raw):
                yield from entry[5]
        start = rows[-1][0] + b"\0"
