"""What the records of a store tell of journeys, and what the twin's folder shows of mails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from actors.publishing import Publication, publish
from actors.replay.funnels import read_funnels
from actors.replay.samples import read_samples
from actors.report.run import FunnelStep
from actors.twin.record import MailHead, Recorder
from actors.worker import wire
from actors.worker.assembly import Ports, secret_of
from actors.worker.rendering import letterheads
from actors.worker.worker import Worker
from deliverability.message.records import OutcomeRecord
from engine.keyspace import contact_key
from engine.vocabulary import ContactPut, Event
from tests.actors.operations.living import config_of
from tests.actors.submission.test_killed import free_port

SCENARIO = """
scenario: welcome
description: Welcomes.
entry:
  event: signup
steps:
  - id: big
    if: event.big == true
    then:
      - id: hello
        send: {template: hello, topic: marketing}
  - id: pause
    wait: 1d
"""


def test_funnels_are_counted_from_the_records(tmp_path: Path) -> None:
    """Opened, waiting, and who reached which step; read when the worker has ended, however many days went by."""
    config = config_of(tmp_path)
    publish(
        config,
        letterheads(config, secret_of),
        [Publication("default", {"welcome.yaml": SCENARIO}, {})],
        now=1,
        actor="test",
        reason="test",
    )
    day = 86_400_000

    async def run() -> None:
        settings = wire.WorkerSettings(
            0, 1, config.data_dir, config, twin_port=free_port(), log_time=day
        )
        worker = Worker(settings, Ports())
        await worker.start()
        items = []
        for n in range(6):
            key = contact_key("default", f"c{n}")
            items.append(wire.WireArrival(key, ContactPut({"email": f"c{n}@inbox.example"}), b"p"))
            event = Event("signup", day, {"big": n < 2})
            items.append(wire.WireArrival(key, event, b"e"))
        await worker.pass_time(day, wire.AdmitBatch(items[:8]))
        await worker.pass_time(300 * day, wire.AdmitBatch(items[8:]))
        await worker.stop()

    asyncio.run(run())
    final = [
        OutcomeRecord(
            "1", "c0", "welcome", "hello", "marketing", "delivered", 1, 2, first_attempt=1
        ),
        OutcomeRecord("2", "c1", "welcome", "hello", "marketing", "expired", 1, 2, first_attempt=1),
    ]
    (funnel,) = asyncio.run(read_funnels(config, 1, {"welcome.yaml": SCENARIO}, final))
    assert (funnel.scenario, funnel.opened, funnel.ended, funnel.waiting) == ("welcome", 6, 4, 2)
    assert funnel.steps == [
        FunnelStep("big", "if", 6),
        FunnelStep("hello", "send", 2, 2, 1),
        FunnelStep("pause", "wait", 6),
    ]
    memory = msgspec.structs.replace(config.store, kind="memory")
    without = msgspec.structs.replace(config, store=memory)
    assert asyncio.run(read_funnels(without, 1, {}, [])) == []


def test_samples_are_the_newest_of_each_step(tmp_path: Path) -> None:
    """Found again by their Message-ID; mails of nobody's are left out, as is a folder that isn't there."""
    assert read_samples(tmp_path / "none", [], lambda _: None) == []
    recorder = Recorder(tmp_path / "twin")
    for n in range(4):
        content = (
            f"From: a@shop.example\r\nSubject: Mail {n}\r\nMessage-ID: <{n}@shop.example>\r\n"
            f"\r\nhello {n}\r\n"
        )
        head = MailHead(n, "r@shop.example", (("ann@inbox.example", "inbox"),))
        recorder.mail(head, content.encode())
    recorder.close()
    final = [
        OutcomeRecord(str(n), "c", "s", "one" if n < 2 else "two", "m", "delivered", 1, 2)
        for n in range(3)
    ]
    found = read_samples(tmp_path / "twin", final, lambda _: None)
    assert [(one.step, one.subject, one.text) for one in found] == [
        ("one", "Mail 1", "hello 1\r\n"),
        ("two", "Mail 2", "hello 2\r\n"),
    ]
