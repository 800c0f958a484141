"""Campaigns end to end: a worker on disk, a twin that takes the mail, and a report that adds up."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from actors.planning.campaigns import CampaignReport
from actors.planning.keeper import Keeper
from engine.errors import InputError, RefusedError
from tests.actors.planning.town import Town, town

HOUR = 3_600_000
PLAIN = """
campaign: spring
segment: customers
send: {template: spring, topic: t}
"""
SEGMENT = "segment: customers\nwhen: contact.customer == true\n"


def names(number: int, prefix: str = "c") -> list[str]:
    return [f"{prefix}{n}" for n in range(number)]


async def prepared(place: Town, number: int, **attributes: Any) -> None:
    """Customers, some others, and the segment."""
    await place.people(names(number), customer=True, **attributes)
    await place.people(names(10, "other"))
    run = place.keeper.versions.publish_segment("default", SEGMENT, "s", place.author())
    assert run is not None
    await place.done(run.id)


async def finished(place: Town, name: str, within_s: float = 60.0) -> CampaignReport:
    desk = place.keeper.campaigns
    await place.until(lambda: desk.report("default", name).finished, within_s)
    report = desk.report("default", name)
    assert report.adds_up, report
    check_sums(report)
    return report


def check_sums(report: CampaignReport) -> None:
    """The three sums of a finished report, worked out here once more."""
    assert report.given == report.entered + sum(report.refused.values())
    assert report.entered == report.sent + sum(report.unsent.values()) + sum(report.left.values())
    assert report.sent == sum(report.ends.values())


def test_each_member_of_the_segment_gets_it_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            await prepared(place, 200)
            desk = place.keeper.campaigns
            desk.create("default", PLAIN, "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            with pytest.raises(RefusedError):
                desk.start("default", "spring", place.author())
            report = await finished(place, "spring")
            wanted = Counter((f"{name}@inbox.example", "spring") for name in names(200))
            assert Counter(place.received()) == wanted
            assert (report.state, report.given, report.ends) == ("done", 200, {"delivered": 200})
            told = await place.decisions_of("c7")
            assert [
                fact
                for fact in told
                if fact in {"segment_entered", "journey_opened", "send_decided"}
            ] == ["segment_entered", "journey_opened", "send_decided"]

    asyncio.run(story())


def test_who_joins_later_gets_nothing_and_who_has_no_address_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            await prepared(place, 20)
            await place.events(["c3"], "noise", "x")
            await place.people(["c5"], email=None)
            await place.people(["c6"])
            desk = place.keeper.campaigns
            text = PLAIN + "seeds: [boss, c1]\n"
            await place.people(["boss"])
            desk.create("default", text, "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            report = await finished(place, "spring")
            await place.people(["late"], customer=True)
            assert report.unsent == {"no_address": 1}
            assert report.refused == {"never_again": 1}  # c1, as a seed and as a member
            assert report.ends == {"delivered": 20}
            assert {"boss@inbox.example", "late@inbox.example"} & {
                who for who, _ in place.received()
            } == {"boss@inbox.example"}

    asyncio.run(story())


def test_a_pause_holds_it_and_a_cancel_ends_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            await prepared(place, 300)
            desk = place.keeper.campaigns
            desk.create("default", PLAIN + "pace: 100\n", "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            await place.until(lambda: len(place.received()) >= 20)
            desk.pause("default", "spring", place.author())
            await place.until(lambda: not any(run.state == "running" for run in runs(place)))
            desk_head = place.keeper.versions.head
            await place.until(lambda: place.worker.host.catalog.version == desk_head().version)
            await place.until(lambda: settled(place))
            held = len(place.received())
            assert held < 300
            for _ in range(3):
                place.later(HOUR)
                await asyncio.sleep(0.3)
            assert len(place.received()) == held
            desk.resume("default", "spring", place.author())
            place.later(HOUR)  # what was held asks again
            await place.until(lambda: len(place.received()) > held + 10)
            desk.cancel("default", "spring", place.author("enough"))
            place.later(HOUR)
            report = await finished(place, "spring")
            assert report.state == "cancelled"
            assert report.ends["delivered"] == len(place.received()) < 300
            assert max(Counter(place.received()).values()) == 1

    asyncio.run(story())


def runs(place: Town) -> list[Any]:
    return place.keeper.versions.runs.all()


def settled(place: Town) -> bool:
    """Whether nothing is in hand."""
    return place.worker.status().in_hand == 0 and place.worker.status().waiting == 0


def test_a_stop_rule_ends_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            await place.people(names(100, "unknown+"), customer=True)
            await prepared(place, 100)
            desk = place.keeper.campaigns
            rules = "pace: 60\nstop: {bounces: 20, after: 20}\n"
            desk.create("default", PLAIN + rules, "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            report = await finished(place, "spring")
            assert report.state == "stopped"
            assert "bounced, more than 20 %" in report.why
            assert report.ends["bounced"] > 0
            assert report.given < 200

    asyncio.run(story())


def test_the_rest_gets_the_variant_that_more_readers_clicked(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "spring-a", "spring-b") as place:
            await prepared(place, 200)
            text = PLAIN.replace("spring, topic", "spring-a, topic") + (
                "test:\n  variants: [{name: a, template: spring-a}, {name: b, template: spring-b}]\n"
                "  sample: 40\n  after: 2h\n"
            )
            desk = place.keeper.campaigns
            desk.create("default", text, "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            await place.until(lambda: desk.get("default", "spring").state == "testing")
            await place.until(lambda: desk.report("default", "spring").under_way == 0)
            sample = place.received()
            assert 40 < len(sample) < 120
            readers = [who.partition("@")[0] for who, subject in sample if subject == "spring-b"]
            for times in range(2):  # who clicks twice counts once
                data = {"scenario": "campaign.spring", "step": "test-b", "by": "person"}
                await place.events(readers[:10], "mail.clicked", str(times), **data)
            scanned = [who.partition("@")[0] for who, subject in sample if subject == "spring-a"]
            data = {"scenario": "campaign.spring", "step": "test-a", "by": "scanner"}
            await place.events(scanned, "mail.clicked", "scan", **data)
            await place.until(lambda: desk.report("default", "spring").clicked == 10)
            place.later(3 * HOUR)
            report = await finished(place, "spring")
            assert report.winner == "b"
            assert report.ends == {"delivered": 200}
            rest = place.received()[len(sample) :]
            assert {subject for _, subject in rest} == {"spring-b"}
            assert max(Counter(who for who, _ in place.received()).values()) == 1
            assert report.parts["test-b"].clicked == 10

    asyncio.run(story())


def test_by_the_contacts_zone_it_comes_at_nine_everywhere(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            await prepared(place, 0)
            await place.people(["tokyo"], customer=True, timezone="Asia/Tokyo")
            await place.people(["oslo"], customer=True, timezone="Europe/Oslo")
            await place.people(["nome"], customer=True, timezone="America/Nome")
            now = place.clock.now()
            text = PLAIN + "at: 2025-12-01T09:00\nzone: contact\n"
            desk = place.keeper.campaigns
            desk.create("default", text, "spring.yaml", place.author())
            record = desk.start("default", "spring", place.author())
            # 09:00 of 1 December in UTC+14, Tokyo, Oslo, Nome
            moments = [1764529200000, 1764547200000, 1764576000000, 1764612000000]
            assert record.start_at == moments[0]
            seen = []
            for moment in moments:
                place.later(moment + 1000 - place.clock.now())
                await place.until(lambda: desk.get("default", "spring").state != "scheduled")
                await asyncio.sleep(0.5)
                await place.until(lambda: place.worker.status().quiet)
                seen.append(len(place.received()))
            assert now < moments[0]
            assert seen == [0, 1, 2, 3]
            assert [who.partition("@")[0] for who, _ in place.received()] == [
                "tokyo",
                "oslo",
                "nome",
            ]
            await finished(place, "spring")

    asyncio.run(story())


def test_a_keeper_that_dies_and_comes_back_gives_it_nobody_twice(tmp_path: Path) -> None:
    """Each life of the keeper is cut off somewhere; the next begins from what the files say."""

    async def story() -> None:
        async with town(tmp_path, "spring", keep=False) as place:
            serving = asyncio.create_task(place.keeper.serve())
            await prepared(place, 400)
            desk = place.keeper.campaigns
            desk.create("default", PLAIN + "pace: 400\n", "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            for life in range(8):
                await asyncio.sleep(0.05 + 0.07 * life)
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                partitions = place.config.store.partitions
                place.keeper = Keeper(tmp_path, place, partitions, place.clock.now)
                serving = asyncio.create_task(place.keeper.serve())
            report = await finished(place, "spring")
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            assert report.given == 400
            wanted = Counter((f"{name}@inbox.example", "spring") for name in names(400))
            assert Counter(place.received()) == wanted

    asyncio.run(story())


def test_what_is_not_published_or_started_already_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            desk = place.keeper.campaigns
            with pytest.raises(InputError, match="no segment 'customers'"):
                desk.create("default", PLAIN, "spring.yaml", place.author())
            text = PLAIN.replace("segment: customers\n", "")
            with pytest.raises(InputError, match="no template 'summer'"):
                desk.create("default", text.replace("spring,", "summer,"), "f", place.author())
            desk.create("default", text, "spring.yaml", place.author())
            for step in (desk.pause, desk.resume):
                with pytest.raises(RefusedError, match="draft"):
                    step("default", "spring", place.author())
            with pytest.raises(InputError, match="no campaign 'autumn'"):
                desk.report("default", "autumn")

    asyncio.run(story())


@pytest.mark.long
def test_two_hundred_thousand_contacts(tmp_path: Path) -> None:
    """The same at full size; the number can be given in VEREDUS_CAMPAIGN_CONTACTS."""
    number = int(os.environ.get("VEREDUS_CAMPAIGN_CONTACTS", "200000"))

    async def story() -> None:
        async with town(tmp_path, "spring") as place:
            await prepared(place, number)
            desk = place.keeper.campaigns
            desk.create("default", PLAIN, "spring.yaml", place.author())
            desk.start("default", "spring", place.author())
            await place.until(lambda: len(place.received()) > number // 10, 600)
            desk.pause("default", "spring", place.author())
            await asyncio.sleep(1)
            desk.resume("default", "spring", place.author())
            report = await finished(place, "spring", 3600)
            assert report.ends == {"delivered": number}
            assert len(set(place.received())) == len(place.received()) == number

    asyncio.run(story())
