"""What operators ask of a running worker: quarantine and recount, beside its work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from actors.worker import wire
from engine.keyspace import contact_key
from engine.partition import Partition
from engine.tick import Repair
from engine.vocabulary import ContactPut, Event
from tests.actors.operations.living import Living, config_of, living


def _poison(here: Living, name: str, body: object) -> tuple[Partition, int]:
    """Put an input aside as a decision that raised would."""
    key = contact_key("default", name)
    host = here.worker.host
    partition = host.partitions[host.keyspace.partition(key)]
    partition.put_aside(key, body, "arrive", b"i1", ValueError("bad"))
    return partition, partition.meta.quarantine_n


async def _listed(here: Living, partition: int, number: int, limit: int) -> wire.QuarantineAnswer:
    return here.worker.reading.quarantine(wire.QuarantineQuestion(partition, number, limit))


def test_an_input_is_listed_shown_and_replayed_by_the_worker(tmp_path: Path) -> None:
    async def story() -> None:
        async with living(config_of(tmp_path)) as here:
            body = ContactPut({"first_name": "Ann", "email": "ann@inbox.example"})
            partition, number = _poison(here, "ann", body)
            await here.send(["bob"])
            entries = (await _listed(here, 0, 0, 10)).entries
            assert [(e.entity, e.source, e.reason) for e in entries] == [
                ("ann", "arrive", "ValueError: bad")
            ]
            assert entries[0].id == f"{partition.number}-{number}"
            detail = (await _listed(here, partition.number, number, 0)).detail
            assert detail is not None
            assert detail.input["attributes"]["first_name"] == "Ann"
            repair = Repair(partition.number, number, "replay")
            told = await asyncio.gather(*(here.worker.repair(repair) for _ in range(3)))
            assert [one.told for one in told] == [
                "",
                "there is no such input in quarantine",
                "there is no such input in quarantine",
            ]
            state, _ = here.worker.host.entry(contact_key("default", "ann"))
            assert state.attributes["first_name"] == "Ann"
            assert (await _listed(here, 0, 0, 10)).entries == []
            assert (await here.recounted()).recount.agrees

    asyncio.run(story())


def test_what_nobody_can_decode_is_shown_as_it_is_and_can_be_dropped(tmp_path: Path) -> None:
    async def story() -> None:
        async with living(config_of(tmp_path)) as here:
            raw = msgspec.msgpack.encode(["from the future", {"n": 1}])
            partition, number = _poison(here, "ann", raw)
            await here.send(["bob"])
            detail = (await _listed(here, partition.number, number, 0)).detail
            assert detail is not None
            assert detail.input == ["from the future", {"n": 1}]
            failed = await here.worker.repair(Repair(partition.number, number, "replay"))
            assert failed.told.startswith("ValidationError")
            dropped = await here.worker.repair(Repair(partition.number, number, "drop"))
            assert dropped.told == ""
            assert (await here.recounted()).recount.agrees

    asyncio.run(story())


def test_a_recount_goes_on_beside_the_work_and_agrees(tmp_path: Path) -> None:
    """Inputs are taken between its slices; it counts what was there when it began."""

    async def story() -> None:
        async with living(config_of(tmp_path)) as here:
            await here.send([f"p{n}" for n in range(1500)], due=here.worker.now() + 3_600_000)
            began = await here.worker.recount(start=True)
            assert began.recount.state == "running"
            again = await here.worker.recount(start=True)
            assert again.recount.state == "running"
            beside = 0
            while (await here.worker.recount(start=False)).recount.state == "running":
                assert await here.send([f"q{beside}"]) == ["accepted"]
                beside += 1
            answer = await here.worker.recount(start=False)
            assert beside > 0
            assert answer.recount.agrees, answer.recount.findings
            assert answer.recount.entities == 3000
            assert answer.recount.law["default\0transactional"]["accepted"] == 1500
            assert here.worker.host.counts()["default\0transactional"]["accepted"] == 1500 + beside
            assert here.worker.status().recount.state == "done"

    asyncio.run(story())


def test_inputs_of_one_contact_keep_their_order_however_they_are_batched(tmp_path: Path) -> None:
    async def story() -> None:
        async with living(config_of(tmp_path)) as here:
            key = contact_key("default", "ann")
            items = [
                wire.WireArrival(key, ContactPut({"n": n, f"n{n % 7}": n}), b"%d" % n)
                for n in range(300)
            ]
            answers = await asyncio.gather(
                *(here.worker.admit(wire.AdmitBatch([item])) for item in items)
            )
            assert {verdict for answer in answers for verdict in answer.verdicts} == {"accepted"}
            state, _ = here.worker.host.entry(key)
            assert state.attributes["n"] == 299
            events = [Event("tick", here.worker.now()) for _ in range(3)]
            for n, event in enumerate(events):
                await here.worker.admit(
                    wire.AdmitBatch([wire.WireArrival(key, event, b"e%d" % (n % 2))])
                )
            state, _ = here.worker.host.entry(key)
            assert state.counts == {"tick": 2}

    asyncio.run(story())
