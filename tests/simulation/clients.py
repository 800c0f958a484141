"""The clients: they send events in batches, again until acknowledged, and know what they were promised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from deliverability.message.records import Settle
from engine.feed import FeedEntry
from engine.inputs import Arrival
from engine.keyspace import EntityKey, contact_key, message_key
from engine.quarantine import Quarantined
from engine.tick import Repair
from tests.simulation.cluster import HOUR, Cluster
from tests.simulation.life import HORIZON_MS, Life
from tests.simulation.people import Deed, Happened

PEOPLE = 30
EVENTS = 200
FEED_PAGE = 20
SPREAD_MS = 6_000
DOMAINS = ("a.example", "b.example")
DEEDS: tuple[Deed, ...] = (
    *("send",) * 32,
    *("note",) * 10,
    *("wait",) * 12,
    *("refer",) * 16,
    *("cancel",) * 4,
    "suppress",
    "erase",
)


class Clients:
    """All that is sent to the cluster from outside."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.events: dict[int, tuple[EntityKey, Happened]] = {}
        self.acknowledged: set[int] = set()
        self.refused: set[int] = set()
        self.too_old: set[int] = set()  # by design
        self.settled: set[bytes] = set()
        self.dropped: set[int] = set()  # events that the operator lets go out of quarantine
        self.mended = False
        self.number = 0
        self.feeds: dict[int, list[FeedEntry]] = defaultdict(list)
        """By worker, what was read of its feed by a cursor that never goes back."""

    def plan(self) -> int:
        """Spread this seed's events over its time. Returns how many there will be."""
        chance, world = self.cluster.world.chance, self.cluster.world
        poison = chance.choice((0.0, 0.01, 0.05))
        people = [
            contact_key(chance.choice(("t", "t", "u")), f"p{number}") for number in range(PEOPLE)
        ]
        total = EVENTS
        while self.number < total:
            when = int(chance.random() * SPREAD_MS)
            if chance.random() < 0.05:
                when = int(chance.random() * 3 * HORIZON_MS)
            batch = [self._event(people, poison) for _ in range(chance.choice((1, 4, 8, 12)))]
            world.after(when, self._sender(batch))
        return self.number

    def _event(self, people: list[EntityKey], poison: float) -> tuple[int, EntityKey, Happened]:
        chance = self.cluster.world.chance
        number = self.number
        self.number += 1
        bad = chance.random() < poison
        deed: Deed = chance.choice(DEEDS)
        if bad and chance.random() < 0.5:
            deed = chance.choice(("poison", "deep_poison"))
        key = chance.choice(people)
        event = Happened(
            number,
            deed,
            to=chance.choice(people),
            delay=chance.choice(
                (0, 0, -5000, 1000, 20_000, 600_000, HOUR)
            ),  # a time may have passed
            stream=chance.choice(("marketing", "marketing", "hold", "brief")),
            message_class=chance.choice((0, 1, 2, 2)),
            domain=chance.choice(DOMAINS),
            poison=bad,
        )
        if chance.random() < 0.01:
            self.too_old.add(number)
        self.events[number] = (key, event)
        return number, key, event

    def _sender(self, batch: list[tuple[int, EntityKey, Happened]]) -> Callable[[], None]:
        def send() -> None:
            at = self.cluster.world.now - 1000
            by_worker: dict[int, list[Arrival]] = {}
            for number, key, event in batch:
                worker = self.cluster.keyspace.partition(key) % self.cluster.workers
                # a clock that jumps ahead must not make it too old, one that is behind not too new
                age = 3 * HORIZON_MS if number in self.too_old else 0
                arrival = Arrival(key, event, number.to_bytes(8), at=at - age)
                by_worker.setdefault(worker, []).append(arrival)
            for worker, arrivals in by_worker.items():
                self._send(worker, arrivals)

        return send

    def _send(self, worker: int, arrivals: list[Arrival]) -> None:
        """Send a batch, and again after a while, until every input of it is acknowledged."""
        cluster = self.cluster
        waiting = [one for one in arrivals if not self._done(one)]
        if not waiting:
            return

        def arrive() -> None:
            owner = cluster.owners.get(worker)
            if owner is not None:
                owner.do(lambda: self._read_feed(worker, owner))
                owner.do(lambda: owner.admit(list(waiting), reply))

        def reply(verdicts: list[str]) -> None:
            cluster.network.send(worker, "clients", lambda: self._heard(waiting, verdicts))

        cluster.network.send("clients", worker, arrive)
        again = cluster.world.chance.choice((1000, 3000, 5000))
        cluster.world.after(again, lambda: self._send(worker, waiting))

    def _read_feed(self, worker: int, owner: Life) -> None:
        """Read on behind what was read; one that may not be read now waits for another time."""
        if owner.readable:
            read = self.feeds[worker]
            place = (read[-1].position, read[-1].n) if read else (0, -1)
            read += owner.host.feed_after(*place, FEED_PAGE)

    def _done(self, arrival: Arrival) -> bool:
        number = int.from_bytes(arrival.input_id)
        return number in self.acknowledged or number in self.refused

    def _heard(self, arrivals: list[Arrival], verdicts: list[str]) -> None:
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            number = int.from_bytes(arrival.input_id)
            self.cluster.world.reach(f"verdict: {verdict}")
            if verdict == "lost":
                continue  # its partition is away: it is sent again
            if verdict == "too_old":
                self.refused.add(number)
            else:
                assert verdict in ("accepted", "duplicate", "quarantined"), verdict
                self.acknowledged.add(number)

    # ---- the operator

    def settle(self, tenant: str, message: bytes) -> None:
        """Settle a message held in doubt, by an input as any other."""
        if message in self.settled:
            return
        self.settled.add(message)
        self.cluster.world.reach("operator: settles a doubt")
        key = message_key(tenant, message)
        number = self.number
        self.number += 1
        arrival = Arrival(key, Settle(resend=False), number.to_bytes(8))
        self._send(self.cluster.keyspace.partition(key) % self.cluster.workers, [arrival])

    def repair(self, *, mended: bool) -> None:
        """Replay what is in quarantine, or drop it; ask again until nothing is left, once it is mended."""
        self.mended = mended
        for index in range(self.cluster.workers):
            self._repair(index)

    def _repair(self, index: int) -> None:
        cluster = self.cluster
        owner = cluster.owners.get(index)
        if owner is None or not owner.readable or owner.lending.away:
            cluster.world.after(1000, lambda: self._repair(index))
            return
        repairs = [
            self._choose(number, row, held)
            for number, partition in owner.host.partitions.items()
            for row, held in partition.quarantine.listed()
        ]
        if repairs:
            owner.do(lambda: owner.repair(repairs))
            if self.mended:
                cluster.world.after(1000, lambda: self._repair(index))

    def _choose(self, partition: int, row: int, held: Quarantined) -> Repair:
        number = int.from_bytes(held.input_id)
        drops = held.source == "arrive" and (number in self.dropped or number % 3 == 0)
        if not (drops and self.mended):
            self.cluster.world.reach("operator: replays")
            return Repair(partition, row, "replay")
        self.cluster.world.reach("operator: drops")
        self.dropped.add(number)
        return Repair(partition, row, "drop")
