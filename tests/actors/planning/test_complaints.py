"""A complaint that comes back to a message stops its campaign: from the report to the stop rule, by worker and feed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from actors.worker import wire
from deliverability.message.records import OutcomeRecord
from deliverability.returned import Returned
from engine.keyspace import message_key
from tests.actors.planning.test_campaigns import PLAIN, finished, prepared
from tests.actors.planning.town import Town, town

RULES = "pace: 40\nstop: {complaints: 2, after: 20}\n"


async def delivered(place: Town) -> list[bytes]:
    """The messages of the campaign that arrived so far, by the feed."""
    (entries,) = await place.feed([(0, 0)], 10_000)
    outcomes = [
        msgspec.msgpack.decode(entry.body, type=OutcomeRecord)
        for entry in entries
        if entry.channel == "outcome"
    ]
    return [bytes.fromhex(one.message_id) for one in outcomes if one.kind == "delivered"]


async def complain(place: Town, message_id: bytes, mark: str) -> None:
    """What the reception tells a message of which a provider's report complains."""
    told = Returned("complained", "complaint", proof="dkim:provider.example", report=mark)
    key = message_key("default", message_id)
    arrival = wire.WireArrival(key, told, f"report\x1f{mark}".encode())
    await place.worker.admit(wire.AdmitBatch([arrival]))


def test_complaints_stop_a_campaign_once_each(tmp_path: Path) -> None:
    """`mail.complained` carries the scenario that the rule counts by; the same report twice counts once."""

    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            await prepared(place, 300)
            desk = place.keeper.campaigns
            desk.create("default", PLAIN + RULES, "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            await place.until(
                lambda: desk.report("default", "spring").ends.get("delivered", 0) > 30
            )
            arrived = await delivered(place)
            for n, message_id in enumerate(arrived[:12]):
                for _ in range(2):
                    await complain(place, message_id, f"r{n}")
            await place.until(lambda: desk.report("default", "spring").complained == 12)
            report = await finished(place, "spring")
            assert report.complained == 12
            assert report.state == "stopped"
            assert "complained, more than 2 %" in report.why
            assert report.given < 310

    asyncio.run(story())
