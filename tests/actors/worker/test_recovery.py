"""What a worker does about messages that a former life left in hand: real store, real ledgers, no Ray."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.worker.assembly import Ports, assemble, machines_of
from actors.worker.recovery import Recovered, recover
from actors.worker.wire import AdmitBatch, Hello, NotStartedError, WorkerSettings
from actors.worker.worker import Worker
from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import LedgerFile
from engine.catalog import Catalog, Head
from engine.config import Config, Store
from engine.host import Host
from engine.inputs import Arrival
from engine.keyspace import Keyspace, contact_key, name_of
from engine.machine import Credit
from engine.store.format import store_path
from engine.store.rocksdb import RocksStore
from engine.tick import CreditOffer, TickInputs
from engine.vocabulary import ContactPut, SendDirect

NOW = 1_800_000_000_000
FORMER_LIFE = 7
CONTACT = contact_key("default", "ann")
MESSAGE = CONTACT[:4] + bytes(12)


def settings_of(folder: Path) -> WorkerSettings:
    """Describe one worker with few partitions."""
    config = Config(data_dir=str(folder), store=Store(partitions=4))
    return WorkerSettings(0, 1, str(folder), config)


def die_with_a_message_in_hand(settings: WorkerSettings) -> None:
    """Be a former life that handed one message over, durably, and then was no more."""
    folder = Path(settings.data_dir)
    store = RocksStore(store_path(folder, 0, 1), 8)
    machines = machines_of(settings.config)
    host = Host(store, machines, Keyspace(4), Catalog(Head(), {}, {}), range(4))
    direct = SendDirect(MESSAGE, "welcome", {}, address="ann@mail.test")
    arrivals = [
        Arrival(CONTACT, ContactPut({"email": "ann@mail.test"}), b"put"),
        Arrival(CONTACT, direct, b"send"),
    ]
    credit = CreditOffer(b"1default/mail.test", 1, Credit(b"w0", FORMER_LIFE, 1))
    host.tick(NOW, TickInputs(arrivals=arrivals, credits=[credit]))
    assert [name_of(key) for _, _, key in host.held()] == [MESSAGE]
    store.close()


def recovered(settings: WorkerSettings) -> Recovered:
    """Begin the next life and tell what it found."""

    async def begin() -> Recovered:
        parts = await assemble(settings, lambda: NOW, lambda: None, Ports())
        try:
            return recover(parts)
        finally:
            parts.close(clean=True)

    return asyncio.run(begin())


def ledger(settings: WorkerSettings) -> LedgerFile:
    """Open the former life's ledger."""
    return LedgerFile(Path(settings.data_dir) / "ledgers" / f"w0-{FORMER_LIFE}.ledger")


def counts(found: Recovered) -> tuple[int, int, int]:
    """Give (never begun, in the air, concluded)."""
    return found.never_begun, found.in_the_air, found.concluded


def test_without_a_mark_it_was_never_begun(tmp_path: Path) -> None:
    """A ledger that is there and says nothing of the attempt: it is ready again."""
    settings = settings_of(tmp_path)
    die_with_a_message_in_hand(settings)
    ledger(settings).close()
    assert counts(recovered(settings)) == (1, 0, 0)


def test_a_mark_without_outcome_is_doubt(tmp_path: Path) -> None:
    """It may have arrived."""
    settings = settings_of(tmp_path)
    die_with_a_message_in_hand(settings)
    written = ledger(settings)
    written.begin(MESSAGE, 1)
    written.close()
    assert counts(recovered(settings)) == (0, 1, 0)


def test_an_outcome_is_what_it_says(tmp_path: Path) -> None:
    """The reply was heard, only not told."""
    settings = settings_of(tmp_path)
    die_with_a_message_in_hand(settings)
    written = ledger(settings)
    written.begin(MESSAGE, 1)
    written.conclude(MESSAGE, 1, AttemptOutcome(1, "delivered"))
    written.close()
    found = recovered(settings)
    assert counts(found) == (0, 0, 1)
    assert found.answers[0].body.kind == "delivered"


def test_a_ledger_that_is_gone_is_doubt(tmp_path: Path) -> None:
    """Nobody knows whether it was begun; taking it for never begun would send it twice unsaid."""
    settings = settings_of(tmp_path)
    die_with_a_message_in_hand(settings)
    found = recovered(settings)
    assert counts(found) == (0, 1, 0)
    assert found.answers[0].body.cause == "ledger_lost"


def test_a_ledger_that_is_damaged_is_doubt(tmp_path: Path) -> None:
    """The mark may be in what can't be read."""
    settings = settings_of(tmp_path)
    die_with_a_message_in_hand(settings)
    written = ledger(settings)
    written.begin(MESSAGE, 1)
    written.close()
    path = tmp_path / "ledgers" / f"w0-{FORMER_LIFE}.ledger"
    path.write_bytes(b"?" + path.read_bytes()[1:])
    assert counts(recovered(settings)) == (0, 1, 0)


def test_a_new_life_that_is_called_before_it_was_started_says_so(tmp_path: Path) -> None:
    """Ray may bring a call to a restarted actor before anybody started it; nothing happens then."""
    worker = Worker(settings_of(tmp_path))
    with pytest.raises(NotStartedError):
        asyncio.run(worker.admit(AdmitBatch([])))


def test_each_life_is_heard_of_before_anything_of_its_former_ones_is_settled(
    tmp_path: Path,
) -> None:
    """One that dies before it was heard of leaves the same for the next: a doubt is counted before it is settled."""
    settings = settings_of(tmp_path)
    die_with_a_message_in_hand(settings)
    written = ledger(settings)
    written.begin(MESSAGE, 1)
    written.close()
    heard: list[tuple[int, int]] = []

    async def dies(_: Hello) -> None:
        raise ConnectionError("killed while it registers")

    async def lives() -> None:
        worker = Worker(settings)

        async def known(hello: Hello) -> None:
            heard.append((hello.in_the_air, worker.status().ticks))

        with pytest.raises(ConnectionError):
            await worker.start(dies)
        await worker.start(known)
        await worker.start()
        await worker.stop()

    asyncio.run(lives())
    assert heard == [(1, 0)]
