"""What the case `autoscale` sees: what was given and accepted when, workers and nodes, queue age, CPU; and its figures.

All times are seconds since the watch began. What was accepted is read from the twin's record in the end.
"""

from __future__ import annotations

__all__ = ("NodesSeen", "Step", "Watch", "WorkersSeen", "figures", "timeline")

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TypeVar

import msgspec

from actors.cluster.running import Cluster
from actors.instance.scaling import Scaling
from actors.worker.wire import WorkerStatus
from bench.cpu import cpu_s, descendants
from bench.frame import Result, plain
from bench.timeline import Line, Panel, Timeline

LOOK_S = 0.5
SETTLED_S = 1.0
"""So long after the last partition moved a rate is counted: connections are open by then."""
LITTLE_S = 1.5
"""A backlog of so much time may be one that not all workers have a part of any more."""
REACH_S = 5.0
"""What is granted beyond the start of a node until the load is carried."""


class Step(msgspec.Struct):
    """A step of the load: from when to when so many mails a second; `queued_until`: when all of it was sent."""

    name: str
    begin: float
    per_s: float
    end: float = 0.0
    queued_until: float = 0.0


class NodesSeen(msgspec.Struct, frozen=True):
    """A look at nodes and CPU."""

    at: float
    nodes: int
    wanted: int
    workers: int
    busy: float  # cores of the machine
    ours: float  # cores that this run uses


class WorkersSeen(msgspec.Struct, frozen=True):
    """A look at the workers."""

    at: float
    serving: int  # workers that own partitions
    moving: int
    age: float  # s, of the oldest mail that no provider's limit holds up


S = TypeVar("S", NodesSeen, WorkersSeen)


class Watch:
    """See the module."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self.wall_ms = time.time_ns() // 1_000_000
        self.steps: list[Step] = []
        self.nodes: list[NodesSeen] = []
        self.seen: list[WorkersSeen] = []
        self.others: list[int] = []
        """Processes that aren't our descendants, or aren't known to be."""
        self.given: list[float] = []
        """When each mail was acknowledged, by its number."""
        self.accepted: list[float] = []
        """When each was accepted, rising; those for the throttled provider aren't among them."""
        self.took: list[tuple[float, float]] = []
        """When a mail was accepted, and how long after its acknowledgement."""
        self.connections = 0
        """The most that one worker had open to one site."""

    def now(self) -> float:
        """Tell the time."""
        return time.perf_counter() - self._begin

    def begin(self, step: Step) -> None:
        """Begin a step."""
        self.steps.append(step)

    def gave(self, numbers: range) -> None:
        """Note mails as acknowledged now."""
        self.given += [self.now()] * len(numbers)

    def workers(self, statuses: Sequence[WorkerStatus], moving: int, throttled: str) -> None:
        """Note what was seen of the workers."""
        ages = [
            (status.now - lane.oldest) / 1000
            for status in statuses
            for lane in status.lanes
            if not lane.parked and not lane.route.endswith(throttled)
        ]
        serving = sum(status.partitions > 0 for status in statuses)
        self.seen.append(WorkersSeen(self.now(), serving, moving, max(ages, default=0.0)))
        most = [max(status.connections.values(), default=0) for status in statuses]
        self.connections = max(self.connections, *most, 0)

    async def look(self, cluster: Cluster, scaling: Scaling) -> None:
        """Look at nodes, and at the use of CPU, for ever."""
        import ray

        before, machine = self._cpu(), _machine_s()
        at = self.now()
        while True:
            await asyncio.sleep(LOOK_S)
            told = await asyncio.to_thread(ray.nodes)
            there = sum(one["Alive"] and one["Resources"].get("CPU", 0) > 0 for one in told)
            now, passed, used = self.now(), self._cpu(), _machine_s()
            ours = sum(max(s - before.get(pid, 0.0), 0.0) for pid, s in passed.items())
            span = now - at
            busy = (used - machine) / span
            workers = len(cluster.workers)
            self.nodes.append(NodesSeen(now, there, scaling.wanted, workers, busy, ours / span))
            before, machine, at = passed, used, now

    def _cpu(self) -> dict[int, float]:
        mine = descendants(os.getpid()) | {os.getpid(), *self.others}
        return {pid: cpu_s([pid]) for pid in mine}

    def read(self, received: Path, recipient: Callable[[int], str]) -> None:
        """Read what the twin accepted, and when."""
        number_of = {recipient(number): number for number in range(len(self.given))}
        for line in received.read_bytes().splitlines():
            mail = msgspec.json.decode(line)
            number = number_of.get(mail["forward_path"])
            if number is not None:
                at = (mail["at"] - self.wall_ms) / 1000
                self.accepted.append(at)
                self.took.append((at, max(at - self.given[number], 0.0)))
        self.accepted.sort()
        self.took.sort()

    # ---- what follows from it

    def step(self, name: str) -> Step:
        """Give a step by its name."""
        return next(one for one in self.steps if one.name == name)

    def done(self, begin: float, end: float) -> int:
        """Count what was accepted in a time."""
        return bisect_left(self.accepted, end) - bisect_left(self.accepted, begin)

    def rate(self, begin: float, end: float) -> float:
        """Tell how many were accepted a second."""
        return self.done(begin, end) / (end - begin) if end > begin else 0.0

    def full(self, workers: int) -> tuple[float, float]:
        """Give the time in which so many workers served and all had something to send; empty: (0, 0)."""
        high = self.step("4x")
        begin = next(
            (
                one.at + SETTLED_S
                for one in self.seen
                if one.at > high.begin and one.serving == workers and not one.moving
            ),
            None,
        )
        if begin is None:
            return 0.0, 0.0
        end = begin
        while end < self.steps[-1].end and self._waiting(end) > LITTLE_S * high.per_s:
            end += 0.1
        return begin, end

    def busy(self, workers: int) -> float:
        """Tell which share of the machine's cores was busy while so many served; 0: they never did."""
        begin, end = self.full(workers)
        some = [one.busy for one in self.nodes if begin and begin <= one.at <= end]
        return sum(some) / len(some) / (os.cpu_count() or 1) if some else 0.0

    def _waiting(self, at: float) -> int:
        return bisect_left(self.given, at) - bisect_left(self.accepted, at)

    def reached(self, step: Step) -> float:
        """Tell how long it took until as much was accepted in a second as is given; the whole step: never."""
        at = step.begin
        while at + 1.0 < step.end:
            if self.done(at, at + 1.0) >= step.per_s:
                return at - step.begin
            at += 0.1
        return step.end - step.begin

    def node_start(self, step: Step) -> float:
        """Tell how long the slowest node took, from when it was asked for."""
        some = [one for one in self.nodes if one.at >= step.begin]
        most = max((one.wanted for one in some), default=0)
        asked = next((one.at for one in some if one.wanted > some[0].wanted), step.begin)
        there = next((one.at for one in some if one.nodes >= most), step.end)
        return max(there - asked, 0.0)

    def grew(self, step: Step) -> int:
        """Count nodes that came, or were asked for, in a step."""
        some = [one for one in self.nodes if step.begin <= one.at <= step.end]
        pairs = list(pairwise(some))
        came = sum(max(after.nodes - before.nodes, 0) for before, after in pairs)
        asked = sum(max(after.wanted - before.wanted, 0) for before, after in pairs)
        return max(came, asked)

    def late(self, begin: float, end: float) -> list[float]:
        """List how long mails took that were accepted in a time, in ms."""
        low, high = bisect_left(self.took, (begin,)), bisect_left(self.took, (end,))
        return [1000 * took for _, took in self.took[low:high]]


def figures(watch: Watch, nodes: int, found: Mapping[str, int]) -> list[Result]:
    """Make the results."""
    alone, high, throttled = watch.step("alone"), watch.step("4x"), watch.step("throttled")
    one = watch.rate(alone.begin + SETTLED_S, alone.end)
    begin, end = watch.full(nodes)
    all_ = watch.rate(begin, end)
    start, reached = watch.node_start(high), watch.reached(high)
    to_capacity = plain("seconds_to_capacity", "s", [reached])
    efficiency = all_ / (nodes * one) if one else 0.0
    calm = watch.step("1x again")
    return [
        plain(f"efficiency_{nodes}_nodes", "", [efficiency]),
        msgspec.structs.replace(to_capacity, ceiling=round(start + REACH_S, 2)),
        plain("node_start", "s", [start]),
        plain("lost", "mails", [found["lost"]]),
        plain("duplicates", "mails", [found["duplicates"]]),
        plain("nodes_added_by_throttle", "", [watch.grew(throttled)]),
        plain("mails_1_node", "1/s", [one]),
        plain(f"mails_{nodes}_nodes", "1/s", [all_]),
        plain(f"measured_{nodes}_nodes", "s", [end - begin]),
        plain("nodes_most", "", [max(sample.nodes for sample in watch.nodes)]),
        plain("nodes_after", "", [watch.nodes[-1].nodes]),
        plain("connections_most", "", [watch.connections]),
        *_late("p99_4x", watch.late(end, high.end) if 0 < end < high.end else []),
        *_late("p99_1x_again", watch.late(calm.begin + REACH_S, calm.end)),
    ]


def _late(name: str, waits: Sequence[float]) -> list[Result]:
    """Make a figure of waiting times; none where the backlog wasn't worked off in time."""
    p99 = _p99(waits)
    return [] if p99 is None else [plain(name, "ms", [p99])]


def timeline(watch: Watch) -> Timeline:
    """Make what is drawn."""
    last = max(watch.accepted[-1], watch.nodes[-1].at)
    seconds = [float(n) for n in range(ceil(last))]
    given = [bisect_left(watch.given, at + 1) - bisect_left(watch.given, at) for at in seconds]
    done = [watch.done(at, at + 1) for at in seconds]
    sampled = [_at(watch.nodes, at) for at in seconds]
    seen = [_at(watch.seen, at) for at in seconds]
    p99 = [_p99(watch.late(at, at + 1)) for at in seconds]
    waits = [one / 1000 if one is not None else None for one in p99]
    panels = [
        Panel(
            "mails a second",
            [
                Line("offered", "queued", [float(one) for one in given]),
                Line("accepted by the twin", "delivered", [float(one) for one in done]),
            ],
        ),
        Panel(
            "how many",
            [
                Line("nodes", "plain", _of(sampled, lambda one: one.nodes), steps=True),
                Line(
                    "workers",
                    "deferred",
                    _of(sampled, lambda one: one.workers),
                    steps=True,
                ),
                Line("wanted", "quiet", _of(sampled, lambda one: one.wanted), steps=True),
            ],
        ),
        Panel(
            "seconds",
            [
                Line("oldest in queue", "deferred", _of(seen, lambda one: one.age)),
                Line("p99 from acknowledged to accepted", "bounced", waits),
            ],
        ),
        Panel(
            "cores busy",
            [
                Line("machine", "quiet", _of(sampled, lambda one: one.busy)),
                Line("this run", "plain", _of(sampled, lambda one: one.ours)),
            ],
        ),
    ]
    return Timeline(seconds, panels, [(step.begin, step.name) for step in watch.steps])


def _at(samples: Sequence[S], at: float) -> S | None:
    """Give the newest sample of a moment; None: there is none yet, or none of late."""
    place = bisect_left(samples, at + 1, key=lambda one: one.at)
    return samples[place - 1] if place and samples[place - 1].at > at - 3 else None


def _of(samples: Sequence[S | None], value: Callable[[S], float]) -> list[float | None]:
    return [None if one is None else float(value(one)) for one in samples]


def _p99(values: Sequence[float]) -> float | None:
    return sorted(values)[int(0.99 * len(values))] if values else None


def _machine_s() -> float:
    """Tell how much CPU the whole machine used so far, s."""
    fields = [
        int(one) for one in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]
    ]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")
