"""What must hold on disk after each fault, and in the world at the end. A breach names what, where and by how much."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from deliverability.message.state import QUEUED, MessageState
from engine.entities import Machines
from engine.feed import entries_of
from engine.inputs import Meta, TellOut
from engine.keyspace import CONTACT, MESSAGE, EntityKey, Keyspace, name_of, tenant_of
from engine.machine import At, Retired, Stuck
from engine.rows import (
    AGENDA,
    ENTITY,
    FEED_INDEX,
    HELD,
    META,
    OUTBOX,
    QUARANTINE,
    READY,
    RETIRED,
    TALLY,
    place_row,
)
from engine.store.protocol import FEED
from engine.tally import QUARANTINED, Tally, holds, merged
from tests.simulation.clients import Clients
from tests.simulation.cluster import Cluster
from tests.simulation.people import Person

INDEXES = (AGENDA[0], READY[0], HELD[0], RETIRED[0])
_META = msgspec.msgpack.Decoder(Meta)
_TELL = msgspec.msgpack.Decoder(TellOut)
_HELD = msgspec.msgpack.Decoder(tuple[int, str, bytes, bytes, bytes, str])


class Breach(AssertionError):
    """A promise was broken."""


def check(holds_so: bool, what: str) -> None:
    """Raise unless it holds."""
    if not holds_so:
        raise Breach(what)


class Durable:
    """All that lies on some disks, read with fresh eyes."""

    def __init__(
        self, keyspace: Keyspace, machines: Machines, dumps: Iterable[Mapping[bytes, bytes]]
    ) -> None:
        self.keyspace = keyspace
        self.machines = machines
        self.entities: dict[bytes, tuple[Any, Any]] = {}
        self.metas: dict[int, Meta] = {}
        self.tallies: dict[int, Tally] = {}
        self.indexed: dict[int, set[bytes]] = defaultdict(set)
        self.outbox: dict[tuple[int, int], list[int]] = defaultdict(list)
        self.quarantine: list[tuple[int, str, bytes, bytes, bytes, str]] = []
        self.feed: list[tuple[str, dict[str, Any]]] = []  # tenant, outcome record
        for dump in dumps:
            for row, raw in dump.items():
                partition, index = int.from_bytes(row[:2]), row[2]
                if partition == FEED:
                    if index == FEED_INDEX[0]:
                        for entry in entries_of(raw):
                            self.feed.append((entry.tenant, msgspec.msgpack.decode(entry.body)))
                elif index == ENTITY[0]:
                    self.entities[row[3:]] = machines.read(row[3:], raw)
                elif index in INDEXES:
                    self.indexed[partition].add(row[2:])
                elif index == META[0]:
                    self.metas[partition] = _META.decode(raw)
                elif index == TALLY[0]:
                    self.tallies[partition] = Tally.decode(raw)
                elif index == OUTBOX[0]:
                    tell = _TELL.decode(raw)
                    self.outbox[tell.source, tell.target].append(tell.seq)
                elif index == QUARANTINE[0]:
                    self.quarantine.append(_HELD.decode(raw))


def audit(cluster: Cluster, clients: Clients) -> Durable:
    """Check what must hold on disk at every instant, whatever died."""
    dumps = (disk.rows.dump() for disk in cluster.disks)
    durable = Durable(cluster.keyspace, cluster.machines, dumps)
    consistent(durable)
    _nothing_lost(durable, clients)
    return durable


def consistent(durable: Durable) -> None:
    """Check counters, places and Tells against what is there."""
    _law(durable)
    _places(durable)
    _tells(durable)


def _law(durable: Durable) -> None:
    """The counters obey the law, and equal a recount of what is there plus what was dropped."""
    recount: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    kinds: dict[int, Counter[str]] = defaultdict(Counter)
    for key, (state, place) in durable.entities.items():
        partition = durable.keyspace.partition(key)
        kinds[partition][f"entities:{key[4]:c}"] += 1
        kinds[partition][f"timers:{key[4]:c}"] += type(place) is At
        counted = durable.machines.by_kind[key[4]].tally(state)
        if counted is not None:
            bucket = QUARANTINED if type(place) is Stuck else counted[1]
            recount[partition][f"{tenant_of(key)}\0{counted[0]}"][bucket] += 1
    for partition, tally in durable.tallies.items():
        for owner, counts in tally.counts.items():
            check(holds(counts), f"the law is broken in {partition} for {owner!r}: {counts}")
            counted_all = recount[partition].pop(owner, Counter())
            counted_all.update(tally.dropped.get(owner, {}))
            told = Counter({k: n for k, n in counts.items() if k != "accepted"})
            check(counted_all == told, f"recount of {partition}: {counted_all}, counters: {told}")
        check(not recount[partition], f"not counted in {partition}: {dict(recount[partition])}")
        for fact, number in kinds[partition].items():
            told_so = tally.facts.get(fact, 0)
            check(told_so == number, f"{fact} in {partition}: {told_so}, recounted {number}")


def _places(durable: Durable) -> None:
    """Every place has its row and every row its place; no row lies below the low-water mark of its index."""
    expected: dict[int, set[bytes]] = defaultdict(set)
    for key, (_, place) in durable.entities.items():
        row = place_row(place, key)
        if row is not None:
            expected[durable.keyspace.partition(key)].add(row)
    for partition, rows in durable.indexed.items():
        check(rows == expected[partition], f"index rows and places of {partition} differ")
        for index, mark in _marks(durable.metas[partition]):
            lowest = min((row[1:9] for row in rows if row[0] == index), default=None)
            fine = lowest is None or int.from_bytes(lowest) >= mark
            check(
                fine, f"a row of {partition} lies below the mark of its index, and won't be found"
            )


def _marks(meta: Meta) -> tuple[tuple[int, int], ...]:
    return (AGENDA[0], meta.agenda_mark), (RETIRED[0], meta.retired_mark)


def _tells(durable: Durable) -> None:
    """told = applied (those in quarantine among them) + in the outbox, less what is both for a while."""
    for source, meta in durable.metas.items():
        for target, told in meta.told.items():
            confirmed = meta.confirmed.get(target, 0)
            target_meta = durable.metas.get(target)
            applied = target_meta.applied.get(source, 0) if target_meta is not None else 0
            waiting = sorted(durable.outbox.get((source, target), []))
            where = f"Tells {source} -> {target}"
            full = list(range(confirmed + 1, told + 1))
            check(waiting == full, f"{where}: outbox {waiting}, not {full}")
            fine = confirmed <= applied <= told
            check(fine, f"{where}: told {told}, applied {applied}, confirmed {confirmed}")


def _nothing_lost(durable: Durable, clients: Clients) -> None:
    """Every acknowledged event is there."""
    decided: set[int] = set()
    for state, _ in durable.entities.values():
        if isinstance(state, Person):
            decided.update(state.decided)
    quarantined = {
        int.from_bytes(input_id) for _, source, _, input_id, _, _ in durable.quarantine if input_id
    }
    settled = {n for n in clients.acknowledged if n not in clients.events}
    lost = clients.acknowledged - decided - quarantined - settled - clients.dropped
    check(not lost, f"acknowledged, but not there: {sorted(lost)}")


# ---- at the end


def at_rest(cluster: Cluster, clients: Clients) -> Durable:
    """Check the whole world once nothing is left to happen."""
    durable = audit(cluster, clients)
    _events_once(durable, clients)
    _tells_settled(durable)
    doubts = told_by_feed(durable)
    _followed(cluster, clients)
    _messages(cluster, durable, doubts)
    _duplicates(cluster, doubts)
    _warm_as_cold(cluster, durable)
    return durable


def _warm_as_cold(cluster: Cluster, durable: Durable) -> None:
    """What a worker has in memory is what is on its disk."""
    warm = merged(life.host.counts() for life in cluster.owners.values())
    check(warm == merged(t.counts for t in durable.tallies.values()), "counters differ in memory")
    facts = merged({"": life.host.facts()} for life in cluster.owners.values())
    check(facts == merged({"": t.facts} for t in durable.tallies.values()), "facts differ")
    for life in cluster.owners.values():
        for partition in life.host.partitions.values():
            check(not partition.has_outbox, f"the outbox of {partition.number} isn't empty")
        for key, entry in durable.entities.items():
            if cluster.keyspace.partition(key) in life.host.partitions:
                check(life.host.entry(EntityKey(key)) == entry, f"{key!r} differs in memory")


def _events_once(durable: Durable, clients: Clients) -> None:
    """Each event was decided exactly once, each referral and wait too; poison alone is in quarantine."""
    for held in durable.quarantine:
        check(held[5].startswith("Poison"), f"in quarantine: {held[1]} {held[5]}")
        check(not clients.mended, f"in quarantine though it was mended: {held[1]} {held[5]}")
    poisoned = Counter(
        int.from_bytes(input_id)
        for _, source, _, input_id, _, _ in durable.quarantine
        if source == "arrive"
    )
    decided: Counter[int] = Counter()
    waits: Counter[int] = Counter()
    for state, _ in durable.entities.values():
        if isinstance(state, Person):
            decided.update(state.decided)
            waits.update(state.woken)
    for number, (_, event) in clients.events.items():
        times = decided[number] + poisoned[number]
        expected = 0 if number in clients.refused or number in clients.dropped else 1
        check(times == expected, f"event {number} ({event.do}) decided {times} times")
        if number in clients.refused:
            check(number in clients.too_old, f"event {number} was refused as too old")
        if event.do in ("poison", "deep_poison") and not clients.mended:
            check(not decided[number], f"poison event {number} left a trace")
    check(max(waits.values(), default=0) <= 1, "a wait ended twice")
    _referrals(durable, clients, decided)


def _referrals(durable: Durable, clients: Clients, decided: Counter[int]) -> None:
    referred = Counter(
        n
        for state, _ in durable.entities.values()
        if isinstance(state, Person)
        for n in state.referred
    )
    for number, (_, event) in clients.events.items():
        if event.do == "refer":
            expected = decided[number] if clients.mended or not event.poison else 0
            times = referred[number]
            check(times == expected, f"referral {number} decided {times} times, not {expected}")
    stuck_wakes = {key for _, source, key, _, _, _ in durable.quarantine if source == "wake"}
    for key, (state, _) in durable.entities.items():
        if isinstance(state, Person) and key not in stuck_wakes:
            check(not state.waits, f"a wait of {key!r} never ended")


def _tells_settled(durable: Durable) -> None:
    for source, meta in durable.metas.items():
        for target, told in meta.told.items():
            applied = durable.metas[target].applied.get(source, 0)
            confirmed = meta.confirmed.get(target, 0)
            check(
                told == applied == confirmed,
                f"Tells {source} -> {target} at rest: {told}, {applied}, {confirmed}",
            )


def told_by_feed(durable: Durable) -> Counter[bytes]:
    """The feed tells each final outcome once. Returns how often each message was in doubt."""
    doubts: Counter[bytes] = Counter()
    finals: Counter[bytes] = Counter()
    kinds: dict[bytes, str] = {}
    for _, record in durable.feed:
        message = bytes.fromhex(record["message_id"])
        if record["final"]:
            finals[message] += 1
            kinds[message] = record["kind"]
        elif record["kind"] == "in_doubt":
            doubts[message] += 1
    for message, times in finals.items():
        check(times == 1, f"the feed tells the end of {message.hex()} {times} times")
    for key, (state, _) in durable.entities.items():
        if isinstance(state, MessageState) and state.status not in (*QUEUED, "in_doubt"):
            check(name_of(key) in finals, f"the feed doesn't tell the end of {key!r}")
    return doubts


def _followed(cluster: Cluster, clients: Clients) -> None:
    """Whoever follows a feed by a cursor has read what is there, all of it so far, in its order."""
    for worker, read in clients.feeds.items():
        there = cluster.owners[worker].host.feed_after(0, -1, len(read))
        check(read == there, f"of the feed of worker {worker} others were read than are there")


def _messages(cluster: Cluster, durable: Durable, doubts: Counter[bytes]) -> None:
    """Every message came to an end that agrees with what the other side accepted."""
    accepted = cluster.sink.accepted
    for key, (state, place) in durable.entities.items():
        if key[4] == CONTACT:
            continue
        assert key[4] == MESSAGE
        message = name_of(key)
        where = f"message {message.hex()} ({state.send.stream})"
        times, doubt = accepted[message], doubts[message]
        if type(place) is not Stuck:
            check(state.status not in QUEUED, f"{where} is {state.status} at rest, {place}")
            check(state.status == "in_doubt" or type(place) is Retired, f"{where}: {place}")
            check(not state.address or state.status == "in_doubt", f"{where} keeps an address")
        check(times <= 1 + doubt, f"{where} arrived {times} times, was in doubt {doubt} times")
        if state.send.stream == "hold":
            check(times <= 1, f"{where} arrived {times} times though its doubt is held")
        if state.status == "delivered":
            by_hand = state.reason == "settled by hand"
            check(times >= 1 or by_hand, f"{where} counts as delivered and never arrived")
        elif type(place) is not Stuck and not doubt:
            check(times == 0, f"{where} counts as {state.status}, but arrived")


def _duplicates(cluster: Cluster, doubts: Counter[bytes]) -> None:
    """What arrived twice is no more than what was in the air, or was held by an egress that was lost."""
    twice = sum(times - 1 for times in cluster.sink.accepted.values() if times > 1)
    declared = sum(doubts.values())
    bound = cluster.in_the_air + cluster.lost_hands
    check(twice <= declared, f"{twice} duplicates, {declared} doubts")
    check(declared <= bound, f"{declared} doubts, {bound} were in the air or lost")
