"""A check of a directory finds every kind of damage, and names it; a sound one has none."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from actors.operations.checking import Checked, check
from actors.operations.counting import StoreCount
from actors.operations.files import opened
from engine.errors import DamageError, RefusedError
from engine.inputs import Arrival, Meta
from engine.keyspace import contact_key, message_key
from engine.rows import AGENDA, ENTITY, META, OUTBOX, QUARANTINE, RECORD, TALLY
from engine.store.format import settle, store_path
from engine.store.protocol import FEED, Batch, Stand, partition_prefix
from engine.store.rocksdb import RocksStore
from engine.tally import Tally
from engine.tick import Repair, TickInputs
from tests.actors.operations.people import Do, People

PARTITIONS = 4


def lived_in(folder: Path) -> None:
    """Make a directory with all kinds of rows."""
    settle(folder, PARTITIONS, 1)
    store = RocksStore(store_path(folder, 0, 1), 8)
    people = People(store, PARTITIONS)
    chance = random.Random(5)
    names = [f"p{n}" for n in range(40)]
    for _ in range(300):
        name, other = chance.choice(names), chance.choice(names)
        what = chance.choice(("buy", "buy", "poison", "poisoned wake"))
        to = contact_key("default", other) if chance.random() < 0.3 else b""
        due = people.now + chance.randrange(1, 5000) if chance.random() < 0.4 else 0
        people.do(name, what, to=to, due=due)
        people.now += chance.randrange(20)
    for n in range(20):
        ident = contact_key("default", names[n])[:4] + n.to_bytes(12)
        body = Do("bad wake" if n % 3 == 0 else "send")
        key = message_key("default", ident)
        for _ in range(2):
            people.tick(TickInputs(arrivals=[Arrival(key, body, b"%d" % people.now)]))
    people.now += 100
    people.tick()
    # the last Tells stay in the outbox: nobody brings them
    people.now += 1
    far = next(n for n in names if people.keyspace.partition(contact_key("default", n)) == 0)
    near = next(n for n in names if people.keyspace.partition(contact_key("default", n)) == 1)
    arrival = people.arrival(far, Do("tell", contact_key("default", near)))
    people.host.tick(people.now, TickInputs(arrivals=[arrival]))
    store.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived-in")
    lived_in(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(original, tmp_path / "data"))


def checked(folder: Path) -> Checked:
    with opened(folder, People.machines_only()) as directory:
        return check(directory, lambda _rows: None)


class Tamper:
    """Writes rows behind everybody's back."""

    def __init__(self, folder: Path) -> None:
        self.store = RocksStore(store_path(folder, 0, 1), 8)

    def rows(self, number: int, index: bytes) -> list[tuple[bytes, bytes]]:
        prefix = partition_prefix(number) + index
        end = prefix[:-1] + bytes((prefix[-1] + 1,))
        return self.store.scan(prefix, end, 10_000)

    def first(self, index: bytes) -> tuple[bytes, bytes]:
        return next(rows[0] for n in range(PARTITIONS) if (rows := self.rows(n, index)))

    def write(self, puts: list[tuple[bytes, bytes]], deletes: list[bytes]) -> None:
        number = int.from_bytes((puts[0][0] if puts else deletes[0])[:2])
        stand = self.store.stand(number)
        batch = Batch(number, Stand(stand.epoch, stand.seq + 1))
        batch.puts, batch.deletes = puts, deletes
        assert self.store.commit([batch]) == []
        self.store.close()


def test_a_sound_directory_has_no_damage(folder: Path) -> None:
    found = checked(folder)
    assert found.damage == []
    assert found.fine
    assert found.entities > 50
    assert found.rows > found.entities


def test_a_count_of_the_running_store_agrees_and_goes_in_slices(folder: Path) -> None:
    store = RocksStore(store_path(folder, 0, 1), 8)
    count = StoreCount(store, People.machines_only(), range(PARTITIONS))
    steps = 1
    while count.step():
        steps += 1
    assert count.counted.findings == []
    assert count.counted.quarantined > 0
    assert steps >= PARTITIONS
    law = count.counted.law["default\0marketing"]
    assert law["accepted"] == law["delivered"] + law["quarantined"]
    store.close()


def _lost_index(tamper: Tamper) -> None:
    tamper.write([], [tamper.first(AGENDA)[0]])


def _lost_entity(tamper: Tamper) -> None:
    row, _ = tamper.first(AGENDA)
    tamper.write([], [row[:2] + ENTITY + row[11:]])


def _torn_entity(tamper: Tamper) -> None:
    row, raw = tamper.first(ENTITY)
    tamper.write([(row, raw[:-2])], [])


def _newer_envelope(tamper: Tamper) -> None:
    row, raw = tamper.first(ENTITY)
    tamper.write([(row, b"\x63" + raw[1:])], [])


def _wrong_partition(tamper: Tamper) -> None:
    row, raw = tamper.rows(0, ENTITY)[0]
    tamper.write([((1).to_bytes(2) + row[2:], raw)], [])


def _below_the_mark(tamper: Tamper) -> None:
    number = next(n for n in range(PARTITIONS) if tamper.rows(n, AGENDA))
    row = partition_prefix(number) + META
    meta = msgspec.msgpack.decode(tamper.store.get([row])[0] or b"", type=Meta)
    meta.agenda_mark = 1 << 50
    tamper.write([(row, msgspec.msgpack.encode(meta))], [])


def _wrong_counter(tamper: Tamper) -> None:
    for number in range(PARTITIONS):
        row = partition_prefix(number) + TALLY
        tally = Tally.decode(tamper.store.get([row])[0])
        if tally.counts:
            tally.counts["default\0marketing"]["delivered"] += 1
            tamper.write([(row, tally.encode())], [])
            return


def _two_wrong_counters(tamper: Tamper) -> None:
    for number in range(PARTITIONS):
        row = partition_prefix(number) + TALLY
        tally = Tally.decode(tamper.store.get([row])[0])
        if tally.counts:
            tally.counts["default\0marketing"]["delivered"] += 1
            tally.counts["default\0marketing"]["accepted"] += 1
            tamper.write([(row, tally.encode())], [])
            return


def _lost_tell(tamper: Tamper) -> None:
    tamper.write([], [tamper.first(OUTBOX)[0]])


def _tell_applied_before_it_was_told(tamper: Tamper) -> None:
    row = partition_prefix(1) + META
    meta = msgspec.msgpack.decode(tamper.store.get([row])[0] or b"", type=Meta)
    meta.applied[0] += 5
    tamper.write([(row, msgspec.msgpack.encode(meta))], [])


def _bad_quarantine(tamper: Tamper) -> None:
    tamper.write([(tamper.first(QUARANTINE)[0], b"nothing")], [])


def _lost_quarantine(tamper: Tamper) -> None:
    tamper.write([], [tamper.first(QUARANTINE)[0]])


def _bad_record(tamper: Tamper) -> None:
    tamper.write([(tamper.first(RECORD)[0], b"\xc1")], [])


def _unknown_index(tamper: Tamper) -> None:
    tamper.write([(partition_prefix(2) + b"Xwhat", b"")], [])


def _foreign_partition(tamper: Tamper) -> None:
    tamper.write([(partition_prefix(PARTITIONS) + ENTITY + b"1234c\0x", b"")], [])


def _lost_control_state(tamper: Tamper) -> None:
    tamper.write([], [partition_prefix(3) + META])


def _bad_control_state(tamper: Tamper) -> None:
    tamper.write([(partition_prefix(3) + META, b"\xff")], [])


def _bad_feed(tamper: Tamper) -> None:
    tamper.write([(partition_prefix(FEED) + b"f" + bytes(12), b"\x00")], [])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_lost_index, "no index shows that it stands at At"),
        (_lost_entity, "the entity that it names isn't there"),
        (_torn_entity, "record "),
        (_newer_envelope, "envelope version 99 is newer"),
        (_wrong_partition, "its key belongs to another partition"),
        (_below_the_mark, "below the mark"),
        (_wrong_counter, "the law doesn't hold"),
        (_two_wrong_counters, "counted accepted"),
        (_lost_tell, "its outbox for 1 should hold"),
        (_tell_applied_before_it_was_told, "Tells from partition 0 to 1"),
        (_bad_quarantine, "can't be decoded"),
        (_lost_quarantine, "should be in quarantine"),
        (_bad_record, "can't be decoded"),
        (_unknown_index, "there is no index b'X'"),
        (_foreign_partition, "doesn't belong into this store"),
        (_lost_control_state, "it has rows, and no control state"),
        (_bad_control_state, "its control state can't be read"),
        (_bad_feed, "can't be decoded"),
    ],
)
def test_damage_is_found_and_named(
    folder: Path, damage: Callable[[Tamper], None], told: str
) -> None:
    damage(Tamper(folder))
    found = checked(folder)
    lines = [str(one) for one in found.damage]
    assert any(told in line for line in lines), lines
    assert not found.fine
    assert all(one.store == "0-of-1" or one.store == "all" for one in found.damage)


def test_a_flipped_byte_of_a_file_is_found_where_it_is_read(folder: Path) -> None:
    store = RocksStore(store_path(folder, 0, 1), 8)
    store._db.flush()
    store.close()
    file = max(store_path(folder, 0, 1).glob("*.sst"), key=lambda path: path.stat().st_size)
    raw = bytearray(file.read_bytes())
    raw[200] ^= 0xFF
    file.write_bytes(raw)
    found = checked(folder)
    assert any("checksum" in one.what for one in found.damage)
    assert {one.store for one in found.damage} <= {"0-of-1", "all"}


def test_a_store_that_cant_be_opened_is_named(folder: Path) -> None:
    manifest = next(store_path(folder, 0, 1).glob("MANIFEST-*"))
    manifest.write_bytes(manifest.read_bytes()[:20] + b"nonsense")
    with pytest.raises(DamageError, match="0-of-1"):
        checked(folder)


def test_a_directory_in_use_is_left_alone(folder: Path) -> None:
    import asyncio

    from actors.instance.lock import locked

    async def while_locked() -> None:
        async with locked(folder):
            with pytest.raises(RefusedError, match="it is in use, by process"):
                checked(folder)

    asyncio.run(while_locked())


def test_nothing_is_written(folder: Path) -> None:
    def files() -> dict[str, int]:
        here = store_path(folder, 0, 1)
        return {
            p.name: p.stat().st_mtime_ns for p in here.iterdir() if p.suffix in (".sst", ".log")
        }

    before = files()
    checked(folder)
    assert files() == before


def test_a_place_shows_in_the_law_after_a_replay(tmp_path: Path) -> None:
    """A message whose wake is in quarantine counts there, and no longer once the replay has moved it."""
    settle(tmp_path, PARTITIONS, 1)
    store = RocksStore(store_path(tmp_path, 0, 1), 8)
    people = People(store, PARTITIONS)
    key = message_key("default", contact_key("default", "ann")[:4] + bytes(12))
    people.tick(TickInputs(arrivals=[Arrival(key, Do("send"), b"1")]))
    people.parcels.jammed = True
    people.now += 100
    people.tick()
    assert people.host.counts()["default\0marketing"] == {"accepted": 1, "quarantined": 1}
    people.parcels.jammed = False
    place = people.quarantined()[0][:2]
    assert people.tick(repairs=[Repair(*place, "replay")]).repaired == [""]
    assert people.host.counts()["default\0marketing"] == {"accepted": 1, "delivered": 1}
    store.close()
    assert checked(tmp_path).damage == []


def test_the_view_of_a_count_doesnt_see_later_commits(tmp_path: Path) -> None:
    store = RocksStore(tmp_path, 8)
    people = People(store, PARTITIONS)
    for n in range(30):
        people.do(f"p{n}", "buy", due=people.now + 5)
    view = store.view()
    count = StoreCount(view, people.machines, range(PARTITIONS))
    more = True
    while more:
        more = count.step()
        people.do(f"q{people.now}", "buy", due=people.now + 5)
        people.tick()
    assert count.counted.findings == []
    assert count.counted.entities == 30
    view.close()
    store.close()
