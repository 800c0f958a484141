"""The sender's name is looked after: automation is carried out and on record, thresholds act, all is lifted in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from actors.health_desk import HealthDesk
from actors.pacing_desk import PacingQuestion
from actors.pacing_views import PacingView
from actors.queues import MarkView, QueueAction, QueueCommand, QueueDone, QueueLine, QueueList
from deliverability.feedback.rates import Lane, Rates
from deliverability.feedback.reports import ReportBook
from deliverability.marks import Selection
from deliverability.pacing.acting import Acted
from engine.config import Config
from engine.settings_pacing import Pacing, Threshold
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

    def __init__(self) -> None:
        self.rates = Rates()
        self.book = ReportBook()
        self.complaints: Counter[tuple[str, str]] = Counter()

    def take_complaints(self) -> Counter[tuple[str, str]]:
        taken, self.complaints = self.complaints, Counter()
        return taken


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
    def __init__(self, folder: Path, *thresholds: Threshold) -> None:
        pacing = Pacing(mode="on", threshold=thresholds)
        self.config = Config(data_dir=str(folder), pacing=pacing)
        self.queues = Marks(("gmail.com", "googlemail.com", "wp.pl"))
        self.counted = Counted()
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


def test_complaints_over_the_threshold_suspend_the_stream_at_that_provider(tmp_path: Path) -> None:
    world = World(tmp_path, Threshold(signal="complaints", percent=0.3, hours=24))
    lane = Lane("default", "marketing", "", "google")
    world.counted.rates.note(lane, "delivered", "", NOW, 2000)
    world.counted.rates.note(
        Lane("default", "transactional", "", "google"), "delivered", "", NOW, 2000
    )
    world.counted.rates.note(
        Lane("default", "transactional", "", "google"), "complained", "", NOW, 99
    )
    world.step()
    assert not world.queues.asked
    world.counted.rates.note(lane, "complained", "", NOW, 7)
    world.now += 31_000
    world.step()
    ((tenant, action, command),) = world.queues.asked
    assert (tenant, action, command.stream) == ("default", "suspend", "marketing")
    assert command.domain == ["gmail.com", "googlemail.com"]
    assert "0.35 %" in command.reason
    world.now += 25 * HOUR
    world.step()
    assert not world.queues.marks


def test_a_slow_threshold_presses_the_provider_and_complaints_reach_the_pacer(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, Threshold(signal="bounces", percent=5.0, action="slow", hours=2))
    lane = Lane("default", "marketing", "", "wp.pl")
    world.counted.rates.note(lane, "delivered", "", NOW, 1000)
    world.counted.rates.note(lane, "bounced", "mailbox-unknown", NOW, 100)
    world.counted.complaints["", "wp.pl"] = 4
    world.step()
    world.now += 1000
    world.step()
    first, second = world.controller.heard
    assert [(one.provider, one.number) for one in first.complaints] == [("wp.pl", 4)]
    assert [press.provider for press in second.presses] == ["wp.pl"]
    assert world.records() == ["threshold_slow"]
    assert not world.queues.asked


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
