"""Runs seeds: one to look at, or many with what they reached. See the package's docstring for the commands."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import msgspec

from tests.simulation.checks import Breach, at_rest, audit
from tests.simulation.clients import Clients
from tests.simulation.cluster import Cluster, Plan, discard, scratch
from tests.simulation.world import World

HONEST = Plan()
SETTLES_MAX = 5


class Seed(msgspec.Struct, frozen=True):
    """What one seed did."""

    inputs: int
    faults: int
    messages: int
    duplicates: int
    reached: Counter[str]


class Failed(AssertionError):
    """A seed broke a promise. The text is one line with the command that replays it."""

    def __init__(self, seed: int, variant: str, error: BaseException) -> None:
        self.seed = seed
        command = f"python -m tests.simulation.run --seed {seed}"
        if variant:
            command += f" --variant {variant}"
        super().__init__(f"seed {seed}: {type(error).__name__}: {error}; replay: {command}")


def run_seed(
    seed: int, plan: Plan = HONEST, folder: Path | None = None, story: list[str] | None = None
) -> Seed:
    """Run one seed to its end, with all checks."""
    scratched = folder or scratch()
    world = World(seed)
    world.story = story
    try:
        cluster = Cluster(world, plan, scratched)
        try:
            return _run(world, cluster)
        finally:
            cluster.close()
            for left in scratched.glob("*.ledger"):
                left.unlink()
    finally:
        if folder is None:
            discard(scratched)


def _run(world: World, cluster: Cluster) -> Seed:
    clients = Clients(cluster)

    def look() -> None:
        audit(cluster, clients)

    cluster.audit = look
    inputs = clients.plan()
    faults = cluster.plan_faults()
    world.run()
    _settle_doubts(world, cluster, clients)
    _restart_all(world, cluster)
    durable = at_rest(cluster, clients)
    if durable.quarantine:
        _repair(world, cluster, clients)
        durable = at_rest(cluster, clients)
    accepted = cluster.sink.accepted
    duplicates = sum(accepted.values()) - len(accepted)
    for _, state in ((k, s) for k, (s, _) in durable.entities.items() if k[4:5] == b"m"):
        world.reached[f"message: {state.status}"] += 1
    return Seed(inputs, faults, len(accepted), duplicates, world.reached)


def _settle_doubts(world: World, cluster: Cluster, clients: Clients) -> None:
    """The operator settles some of what is held in doubt."""
    for life in list(cluster.owners.values()):
        for record in life.host.feed_after(0, -1, 10_000):
            body = msgspec.msgpack.decode(record.body)
            held = body["kind"] == "in_doubt" and body["stream"] == "hold"
            if held and len(clients.settled) < SETTLES_MAX:
                clients.settle(record.tenant, bytes.fromhex(body["message_id"]))
    world.run()


def _repair(world: World, cluster: Cluster, clients: Clients) -> None:
    """The operator replays what is in quarantine, in vain at first; then the cause is mended. Faults go on."""
    for mended in (False, True):
        if mended:
            cluster.catalog = cluster.catalog.mend()
            for life in cluster.owners.values():
                life.host.publish(cluster.catalog)
        clients.repair(mended=mended)
        for index in range(cluster.workers):
            fault = world.chance.choice(
                ("crash", "commit in", "commit after", "commit unknown", "partition leaves", "")
            )
            if fault:
                world.after(world.chance.randrange(60), partial(cluster.befall, fault, index))
        world.run()


def _restart_all(world: World, cluster: Cluster) -> None:
    """Every worker dies and comes back: what was only in memory is gone, and all must still be at rest."""
    for life in list(cluster.owners.values()):
        cluster.bury(life)
    world.run()


def run_many(
    seeds: Iterable[int], plan: Plan = HONEST, variant: str = ""
) -> tuple[Counter[str], Counter[str]]:
    """Run seeds; stop at the first that fails.

    Returns: totals, and what was reached.
    Raises: Failed.
    """
    totals: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    folder = scratch()
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)  # worlds are full of cycles and short: a quarter faster
    try:
        for seed in seeds:
            try:
                one = run_seed(seed, plan, folder)
            except Exception as error:
                raise Failed(seed, variant, error) from error
            totals["seeds"] += 1
            totals["inputs"] += one.inputs
            totals["faults"] += one.faults
            totals["messages"] += one.messages
            totals["duplicates"] += one.duplicates
            reached.update(one.reached)
            assert one.inputs >= 200, "a seed has at least 200 inputs"
            assert one.faults >= 3, "a seed has at least three faults"
    finally:
        gc.set_threshold(*thresholds)
        discard(folder)
    return totals, reached


def report(totals: Counter[str], reached: Counter[str], seconds: float) -> str:
    """Write what was reached, as lines."""
    rate = totals["seeds"] / max(seconds, 1e-9)
    head = ", ".join(f"{number:,} {what}" for what, number in totals.items())
    lines = [f"simulation: {head} in {seconds:.1f} s ({rate:.1f} seeds/s)"]
    lines += [f"  {number:>9,}  {what}" for what, number in sorted(reached.items())]
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    from tests.simulation.variants import VARIANTS

    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run")
    parser.add_argument("--seed", type=int, help="run one seed and tell its story")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--variant", default="", choices=("", *VARIANTS), help="a planted bug")
    options = parser.parse_args()
    plan = VARIANTS[options.variant] if options.variant else HONEST
    if options.seed is not None:
        sys.exit(_tell(options.seed, plan, options.variant))
    began = time.perf_counter()
    seeds = range(options.first, options.first + options.seeds)
    try:
        totals, reached = run_many(seeds, plan, options.variant)
    except Failed as failed:
        sys.exit(str(failed))
    print(report(totals, reached, time.perf_counter() - began))


def _tell(seed: int, plan: Plan, variant: str) -> str | None:
    story: list[str] = []
    try:
        done = run_seed(seed, plan, story=story)
    except (Breach, AssertionError) as error:
        print("\n".join(story))
        return str(Failed(seed, variant, error))
    print("\n".join(story))
    print(f"{done.inputs} inputs, {done.faults} faults, {done.messages} messages: all held")
    return None


if __name__ == "__main__":
    main()
