"""What the kernel does with inputs in quarantine: they are replayed or dropped, once, and everything still adds up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.keyspace import contact_key
from engine.store.memory import MemoryStore
from engine.store.protocol import Batch
from engine.store.rocksdb import RocksStore
from engine.tick import Repair, TickInputs
from tests.actors.operations.people import Do, People


def only(people: People) -> tuple[int, int]:
    found = people.quarantined()
    assert len(found) == 1
    return found[0][0], found[0][1]


def test_a_mended_input_is_decided_and_leaves() -> None:
    people = People(MemoryStore())
    assert people.do("ann", "poison") == "quarantined"
    assert people.person("ann") is None
    people.machine.poisonous = False
    released = people.tick(repairs=[Repair(*only(people), "replay")])
    assert released.repaired == [""]
    person = people.person("ann")
    assert person is not None
    assert person.done == ("poison",)
    assert people.quarantined() == []
    facts = people.host.facts()
    assert (facts["quarantined_inputs"], facts["quarantine_replayed"]) == (1, 1)


def test_a_replay_that_fails_stays_with_its_new_reason_and_its_first_time() -> None:
    people = People(MemoryStore())
    people.do("ann", "worse poison")
    partition, number = only(people)
    before = people.host.partitions[partition].quarantine.find(number)
    assert before is not None
    people.now += 5000
    released = people.tick(repairs=[Repair(partition, number, "replay")])
    after = people.host.partitions[partition].quarantine.find(number)
    assert after is not None
    assert released.repaired == [after.reason]
    assert after.reason != before.reason
    assert after.reason == f"ValueError: it stays bad at {people.now}"
    assert (after.at, after.body, after.input_id) == (before.at, before.body, before.input_id)
    assert only(people) == (partition, number)
    assert people.host.facts()["quarantined_inputs"] == 1


def test_what_is_not_there_is_told() -> None:
    people = People(MemoryStore())
    released = people.tick(repairs=[Repair(1, 7, "replay"), Repair(1, 7, "drop")])
    assert released.repaired == ["there is no such input in quarantine"] * 2


@pytest.mark.parametrize("action", ["replay", "drop"])
def test_asking_twice_in_one_tick_does_it_once(action: str) -> None:
    people = People(MemoryStore())
    people.do("ann", "poison")
    people.machine.poisonous = False
    repair = Repair(*only(people), action)  # type: ignore[arg-type] # one of the two
    released = people.tick(repairs=[repair, repair])
    assert released.repaired == ["", "there is no such input in quarantine"]
    person = people.person("ann")
    assert (person.done if person is not None else ()) == (
        ("poison",) if action == "replay" else ()
    )


def test_a_dropped_input_is_gone_and_its_id_stays_seen() -> None:
    people = People(MemoryStore())
    arrival = people.arrival("ann", Do("poison"))
    people.tick(arrivals=[arrival])
    assert people.tick(repairs=[Repair(*only(people), "drop")]).repaired == [""]
    assert people.quarantined() == []
    assert people.tick(arrivals=[arrival]).verdicts == ["duplicate"]
    assert people.host.facts()["quarantine_dropped"] == 1


def test_a_wake_in_quarantine_stops_its_entity_until_it_is_replayed() -> None:
    people = People(MemoryStore())
    people.do("ann", "poisoned wake", due=people.now + 10)
    people.now += 100
    people.tick()
    assert len(people.quarantined()) == 1
    people.now += 100
    assert people.tick().woken == 0
    people.machine.poisonous = False
    assert people.tick(repairs=[Repair(*only(people), "replay")]).repaired == [""]
    person = people.person("ann")
    assert person is not None
    assert person.woken == 1


def test_a_turn_whose_entity_was_moved_on_is_over() -> None:
    """Two of its wakes failed, one after the other; a replay has one turn to give, not two."""
    people = People(MemoryStore())
    for _ in range(2):
        people.do("ann", "poisoned wake", due=people.now + 10)
        people.now += 100
        people.tick()
    people.machine.poisonous = False
    found = people.quarantined()
    assert len(found) == 2
    repairs = [Repair(partition, number, "replay") for partition, number, *_ in found]
    assert people.tick(repairs=repairs).repaired == ["", ""]
    assert people.quarantined() == []
    person = people.person("ann")
    assert person is not None
    assert person.woken == 1
    facts = people.host.facts()
    assert (facts["quarantine_replayed"], facts["quarantine_overtaken"]) == (1, 1)


def test_a_failed_commit_leaves_the_quarantine_as_it_was() -> None:
    class Failing(MemoryStore):
        failing = False

        def commit(self, batches: Sequence[Batch]) -> list[int]:
            if self.failing:
                raise StoreError("no room")
            return super().commit(batches)

    store = Failing()
    people = People(store)
    people.do("ann", "poison")
    people.machine.poisonous = False
    place = only(people)
    store.failing = True
    with pytest.raises(StoreError):
        people.tick(repairs=[Repair(*place, "replay")])
    store.failing = False
    people.host.recover()
    assert people.person("ann") is None
    assert only(people) == place
    assert people.tick(repairs=[Repair(*place, "replay")]).repaired == [""]
    assert people.quarantined() == []


def test_the_quarantine_survives_a_restart_and_is_listed_in_order(tmp_path: Path) -> None:
    store = RocksStore(tmp_path, 8)
    people = People(store, partitions=1)
    for n in range(5):
        people.do(f"p{n}", "poison")
    people.host = people.opened()
    numbers = [number for _, number, _ in people.quarantined()]
    assert numbers == [1, 2, 3, 4, 5]
    behind = people.host.partitions[0].quarantine.listed(after=2, limit=2)
    assert [number for number, _ in behind] == [3, 4]
    assert behind[0][1].key == contact_key("default", "p2")
    store.close()


GOOD = 2000
BAD = 1000


def test_a_thousand_poison_inputs_do_not_slow_the_good_ones(tmp_path: Path) -> None:
    """The rate of good inputs after a thousand bad ones, and among them, is that of a partition without any."""
    alone, after, among = [], [], []
    for run in range(2):
        store = RocksStore(tmp_path / f"clean{run}", 8)
        alone.append(_cpu_s(People(store, batch_max=500), GOOD, 0))
        store.close()
        store = RocksStore(tmp_path / f"poisoned{run}", 8)
        people = People(store, batch_max=500)
        among.append(_cpu_s(people, GOOD, BAD))
        assert len(people.quarantined()) == BAD
        after.append(_cpu_s(people, GOOD, 0))
        store.close()
    assert min(after) < 1.5 * min(alone)
    # each bad one costs its own decision and its row: about what a good one does
    assert min(among) < 2 * (GOOD + BAD) / GOOD * min(alone)


def _cpu_s(people: People, good: int, bad: int) -> float:
    every = good // bad if bad else 0
    inputs = TickInputs()
    for n in range(good):
        inputs.arrivals.append(people.arrival(f"p{n}", Do("thing")))
        if every and n % every == 0:
            inputs.arrivals.append(people.arrival(f"p{n}", Do("poison")))
    began = time.process_time()
    while inputs.arrivals:
        people.tick(inputs)
    return time.process_time() - began
