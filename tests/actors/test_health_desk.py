"""The sender's name is looked after: automation is carried out and on record, findings slow down, all ends in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from actors.feedback.loop import thresholds_of
from actors.health_desk import HealthDesk
from actors.pacing_desk import PacingQuestion, Press
from actors.pacing_views import PacingView
from actors.queues import MarkView, QueueAction, QueueCommand, QueueDone, QueueLine, QueueList
from deliverability.feedback.findings import Finding, findings_of
from deliverability.feedback.rates import Lane, Rates
from deliverability.feedback.reports import ReportBook
from deliverability.marks import Selection
from deliverability.pacing.acting import Acted
from engine.config import Config
from engine.settings_measures import Measures, MeasuresOfStream
from engine.settings_pacing import Pacing
from engine.settings_routes import Source
from engine.store.control_file import ControlFile

NOW = 1_800_000_000_000
HOUR = 3_600_000


class Marks:
    """Queues of which only the marks matter: those in force, and all that was asked."""

    def __init__(self, domains: tuple[str, ...]) -> None:
        self.marks: dict[int, tuple[str, QueueAction, QueueCommand]] = {}
        self.asked: list[tuple[str, QueueAction, QueueCommand]] = []
        self.domains = domains

    async def list(self, tenant: str) -> QueueList:
        lines = [QueueLine(tenant, 2, "default", one, "ready", 5) for one in self.domains]
        marks = [
            MarkView(number, "suspend", Selection(), NOW, "automation") for number in self.marks
        ]
        return QueueList(lines, marks, {})

    async def act(
        self, tenant: str, action: QueueAction, command: QueueCommand, actor: str
    ) -> QueueDone:
        assert actor == "automation"
        self.asked.append((tenant, action, command))
        if action == "resume":
            del self.marks[command.mark]
            return QueueDone(tenant, action, Selection(), lifted=[command.mark])
        number = len(self.asked)
        self.marks[number] = (tenant, action, command)
        return QueueDone(tenant, action, Selection(), number)


class Counted:
    """What feedback has counted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rates = Rates()
        self.book = ReportBook()
        self.complaints: Counter[tuple[str, str]] = Counter()

    def take_complaints(self) -> Counter[tuple[str, str]]:
        taken, self.complaints = self.complaints, Counter()
        return taken

    def findings(self) -> list[Finding]:
        return findings_of(
            self.rates, self.book, self.world.now, (), thresholds_of(self.world.config)
        )


class Controller:
    """Answers for the pacer."""

    def __init__(self) -> None:
        self.acts: list[Acted] = []
        self.heard: list[PacingQuestion] = []

    async def pacing(self, question: PacingQuestion) -> PacingView:
        self.heard.append(question)
        fresh = self.acts[question.known :]
        return PacingView(on=True, acts=fresh, newest=len(self.acts))


class World:
    def __init__(self, folder: Path, measures: Measures | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.config = Config(
            data_dir=str(folder),
            pacing=Pacing(mode="on"),
            measures=measures or Measures(),
            source=(Source(name="b", address="192.0.2.1"),),
        )
        self.queues = Marks(("gmail.com", "googlemail.com", "wp.pl"))
        self.counted = Counted(self)
        self.controller = Controller()
        self.now = NOW
        self.desk = self.begin()

    def begin(self) -> HealthDesk:
        controller: Any = self.controller
        queues: Any = self.queues
        counted: Any = self.counted
        return HealthDesk(self.config, controller, queues, counted, lambda: self.now)

    def step(self) -> None:
        asyncio.run(self.desk.step())

    def minutes(self, number: int) -> None:
        """Look every half minute, as time goes by."""
        for _ in range(2 * number):
            self.step()
            self.now += 30_000

    def presses(self) -> list[Press]:
        return [one for heard in self.controller.heard for one in heard.presses]

    def records(self) -> list[str]:
        log = ControlFile(Path(self.config.data_dir) / "control.log")
        return [record.change.action for record in log.records()]


def act(kind: str, tenant: str = "default") -> Acted:
    return Acted(
        at_ms=NOW,
        source="a",
        site="mx.wp.pl",
        domain="wp.pl",
        provider="wp",
        action=kind,
        kind=kind,
        until_ms=NOW + HOUR,
        rule="rules.toml:7",
        pattern="too much",
        matches=3,
        tenant=tenant,
        campaign="sale",
    )


def test_automation_is_on_record_carried_out_once_and_lifted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.controller.acts = [act("SetConfig"), act("SuspendTenant"), act("SuspendCampaign")]
    world.step()
    world.step()
    assert world.records() == [
        "automation_SetConfig",
        "automation_SuspendTenant",
        "automation_SuspendCampaign",
    ]
    tenants = [(command.domain, command.campaign) for _, _, command in world.queues.asked]
    assert tenants == [(["wp.pl"], ""), (["wp.pl"], "sale")]
    world.desk = world.begin()  # a restart forgets neither the marks nor what is on record
    world.step()
    assert len(world.records()) == 3
    world.now += HOUR
    world.step()
    assert not world.queues.marks


def test_a_finding_that_asks_for_it_slows_the_source_down_there(tmp_path: Path) -> None:
    """Half the pace of that source at that provider while it is found, on record once, and nothing is suspended."""
    world = World(tmp_path)
    lane = Lane("default", "marketing", "192.0.2.1", "wp.pl")
    world.counted.rates.note(lane, "delivered", "", NOW, 2000)
    world.counted.rates.note(lane, "bounced", "mailbox-unknown", NOW, 60)
    world.counted.complaints["", "wp.pl"] = 4
    world.minutes(1)
    (complaints,) = [one for heard in world.controller.heard for one in heard.complaints]
    assert (complaints.provider, complaints.number) == ("wp.pl", 4)
    (press,) = world.presses()
    assert (press.provider, press.source, press.until_ms) == ("wp.pl", "b", NOW + HOUR)
    assert "2.9% of the 2,060 messages" in press.reason
    assert world.records() == ["measure_slow"]
    assert not world.queues.asked
    world.desk = world.begin()  # a restart doesn't put it on record again
    world.minutes(60)
    assert [one.until_ms for one in world.presses()][-1] > NOW + HOUR
    assert world.records() == ["measure_slow"]
    world.now += 25 * HOUR  # of a day nothing is left
    world.minutes(1)
    number = len(world.presses())
    world.minutes(90)
    assert len(world.presses()) == number


def test_a_rate_of_a_whole_stream_slows_it_down_wherever_it_went(tmp_path: Path) -> None:
    """Too little at each provider for a finding of its own; together it is enough. Other streams' ways are let be."""
    world = World(tmp_path)
    for name in ("wp.pl", "onet.pl", "gmx.net"):
        lane = Lane("default", "marketing", "192.0.2.1", name)
        world.counted.rates.note(lane, "delivered", "", NOW, 500)
        world.counted.rates.note(lane, "bounced", "mailbox-unknown", NOW, 15)
    other = Lane("default", "transactional", "192.0.2.1", "aol.com")
    world.counted.rates.note(other, "delivered", "", NOW, 5000)
    world.minutes(1)
    assert [one.provider for one in world.presses()] == ["gmx.net", "onet.pl", "wp.pl"]
    assert {one.source for one in world.presses()} == {"b"}
    assert world.records() == ["measure_slow"] * 3
    world.minutes(20)
    assert len(world.presses()) == 3


def test_only_streams_that_measures_act_on_are_slowed_down(tmp_path: Path) -> None:
    """A transactional stream isn't, unless it is written; one that is written off isn't."""
    own = {
        "transactional": MeasuresOfStream(act=True, bounces_slow_percent=1.0),
        "marketing": MeasuresOfStream(act=False),
    }
    for folder, measures, slowed in (
        ("usual", Measures(), ["marketing"]),
        ("own", Measures(streams=own), ["transactional"]),
        ("off", Measures(act=False), []),
    ):
        world = World(tmp_path / folder, measures)
        for stream, bounced in (("marketing", 60), ("transactional", 40)):
            lane = Lane("default", stream, "192.0.2.1", f"{stream}.example")
            world.counted.rates.note(lane, "delivered", "", NOW, 2000)
            world.counted.rates.note(lane, "bounced", "mailbox-unknown", NOW, bounced)
        world.minutes(1)
        assert [one.provider for one in world.presses()] == [f"{one}.example" for one in slowed]


def test_mail_that_comes_back_as_sent_too_fast_slows_down(tmp_path: Path) -> None:
    """Three within an hour, whatever the tenant; other causes and fewer say nothing about pace."""
    world = World(tmp_path)
    for tenant, number in (("default", 2), ("other", 1)):
        lane = Lane(tenant, "transactional", "192.0.2.1", "wp.pl")
        world.counted.rates.note(lane, "returned", "sending-too-fast", NOW, number)
    quiet = Lane("default", "marketing", "192.0.2.1", "onet.pl")
    world.counted.rates.note(quiet, "returned", "volume-or-complaints", NOW, 2)
    world.counted.rates.note(quiet, "returned", "mailbox-full", NOW, 50)
    world.minutes(1)
    (press,) = world.presses()
    assert (press.provider, press.source) == ("wp.pl", "b")
    assert "3 mails of an hour came back" in press.reason
    world.minutes(20)
    assert len(world.presses()) == 1


def test_what_a_threshold_of_before_suspended_is_lifted_in_time(tmp_path: Path) -> None:
    """`guards.json` of before `[measures]` did this alone: its marks are lifted as they would have been."""
    world = World(tmp_path)
    world.queues.marks[7] = ("default", "suspend", QueueCommand(stream="marketing"))
    name = "threshold 0 default marketing google"
    kept = (
        f'{{"known": 0, "guards": [{{"name": "{name}", "tenant": "default", "marks": [7],'
        f' "domains": ["gmail.com"], "until_ms": {NOW + HOUR}}}], "words": []}}'
    )
    (tmp_path / "guards.json").write_text(kept)
    world.desk = world.begin()
    world.minutes(1)
    assert 7 in world.queues.marks
    world.minutes(60)
    assert not world.queues.marks


def test_exports_count_for_health_and_outlive_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    config = msgspec.to_builtins(world.config)
    config["tenant"][0]["from_domains"] = ["shop.example"]
    world.config = msgspec.convert(config, Config)
    world.desk = world.begin()
    world.counted.rates.note(Lane("default", "marketing", "", "google"), "delivered", "", NOW, 500)
    day = "20270115"  # of NOW
    told = world.desk.take(
        f'{{"name": "domains/shop.example/trafficStats/{day}", "domainReputation": "BAD"}}',
        "x.json",
    )
    assert told.taken == 1
    world.desk = world.begin()
    line = next(one for one in world.desk.view().lines if one.provider == "google")
    assert line.score == 40
    assert "BAD" in line.reasons[0].says
