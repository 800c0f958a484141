"""Campaigns from the command line to their reports, against a twin: a pause, a cancel, and a stop rule that fires.

Each report has to add up, and to say of every group of contacts exactly what the twin has on record: nobody twice, as
many as were delivered. `make long` sends to 200,000 contacts.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.instance import Running, prepare, run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3000)]

_UNKNOWN = 5  # every fifth of the third group has a mailbox that the twin doesn't know
_RULE = 5  # percent of bounces at which the third campaign stops
_CAMPAIGN = """
campaign: {name}
segment: {name}
send: {{template: hello, topic: marketing}}
pace: {pace}
stop: {{bounces: {rule}, after: 100}}
"""


class Size:
    """How many contacts each campaign goes to, and how many a second."""

    def __init__(self, number: int, pace: int) -> None:
        others = max(number // 10, 400)
        self.groups = {"steady": number, "called-off": others, "dirty": others}
        self.pace = pace
        self.patience_s = 60 + number / 100


def people(size: Size) -> Iterator[str]:
    """Give the rows of all groups; a contact's id begins with its group."""
    yield "contact,email,first_name,group"
    for group, number in size.groups.items():
        for n in range(number):
            lost = group == "dirty" and not n % _UNKNOWN
            mailbox = f"unknown+{n}" if lost else f"{group}-{n}"
            yield f"{group}-{n},{mailbox}@inbox.example,Ann,{group}"


class Shop:
    """An instance with its people, and the command line to steer it."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder, self.size = folder, size
        prepare(folder)
        (folder / "people.csv").write_text("\n".join(people(size)) + "\n")
        for name in size.groups:
            (folder / f"{name}.segment.yaml").write_text(
                f"segment: {name}\nwhen: contact.group == '{name}'\n"
            )
            campaign = _CAMPAIGN.format(name=name, pace=size.pace, rule=_RULE)
            (folder / f"{name}.campaign.yaml").write_text(campaign)
        self.up = Running(folder)

    def told(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        within_s = self.size.patience_s
        done = run(self.folder, *arguments, "--data", "data", "--json", within_s=within_s)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def until(self, name: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for a campaign's report until something holds."""
        deadline = time.monotonic() + self.size.patience_s
        while True:
            report: dict[str, Any] = self.up.get(f"/v1/campaigns/{name}")
            if true(report):
                return report
            assert time.monotonic() < deadline, report
            time.sleep(0.1)

    def import_people(self) -> None:
        """Bring all contacts in, and let them be in their segments."""
        imported = self.told(
            "contacts", "import", "people.csv", "--consent", "marketing", "--consent-source", "test"
        )
        assert imported["accepted"] == sum(self.size.groups.values())
        for name in self.size.groups:
            self.told("segment", "publish", f"{name}.segment.yaml")
        deadline = time.monotonic() + self.size.patience_s
        while {one["state"] for one in self.told("scenario", "runs")["runs"]} != {"done"}:
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def begin(self, name: str) -> None:
        self.told("campaign", "create", f"{name}.campaign.yaml")
        self.told("campaign", "start", name)

    def finished(self, name: str) -> dict[str, Any]:
        seconds = str(self.size.patience_s)
        report = self.told("campaign", "report", name, "--wait", "--timeout", seconds)
        check_sums(report)
        assert report["given"] <= self.size.groups[name]
        return dict(report)


def check_sums(report: dict[str, Any]) -> None:
    """The three sums, worked out here once more; and nothing is left over."""
    assert report["adds_up"]
    assert report["given"] == report["entered"] + sum(report["refused"].values())
    unsent = sum(report["unsent"].values()) + sum(report["left"].values())
    assert report["entered"] == report["sent"] + unsent
    assert report["sent"] == sum(report["ends"].values())
    assert (report["waiting"], report["under_way"], report["in_hand"]) == (0, 0, 0)


def received(folder: Path) -> Counter[str]:
    """Count what the twin took, by forward-path."""
    lines = (folder / "data" / "twin" / "received.ndjson").read_text().splitlines()
    return Counter(json.loads(line)["forward_path"] for line in lines)


def campaigns(folder: Path, size: Size) -> None:
    shop = Shop(folder, size)
    try:
        shop.import_people()
        steady = paused_and_resumed(shop)
        off = called_off(shop)
        dirty = stopped_by_its_rule(shop)
    finally:
        status = shop.up.end()
    assert status == 0
    taken = received(folder)
    assert max(taken.values()) == 1, taken.most_common(3)
    by_group = Counter(path.partition("@")[0].rpartition("-")[0] for path in taken)
    for name, report in (("steady", steady), ("called-off", off), ("dirty", dirty)):
        assert by_group[name] == report["ends"].get("delivered", 0), name


def paused_and_resumed(shop: Shop) -> dict[str, Any]:
    """A pause holds everything; after it each contact gets its mail."""
    number = shop.size.groups["steady"]
    shop.begin("steady")
    shop.until("steady", lambda now: now["ends"].get("delivered", 0) > number / 5)
    assert shop.told("campaign", "pause", "steady")["paused"]
    held = shop.until("steady", settled())
    assert held["sent"] < number
    time.sleep(2)
    assert shop.up.get("/v1/campaigns/steady")["ends"] == held["ends"]
    shop.told("campaign", "resume", "steady")
    report = shop.finished("steady")
    assert (report["state"], report["given"]) == ("done", number)
    assert report["ends"] == {"delivered": number}
    return report


def settled() -> Callable[[dict[str, Any]], bool]:
    """Tell when nothing has changed for a second and a half."""
    last: Any = None
    since = time.monotonic()

    def still(report: dict[str, Any]) -> bool:
        nonlocal last, since
        seen = (report["given"], report["sent"], report["ends"])
        if seen != last:
            last, since = seen, time.monotonic()
        return time.monotonic() - since > 1.5

    return still


def called_off(shop: Shop) -> dict[str, Any]:
    """A cancel ends it; what is out stays out, and the rest is accounted for."""
    number = shop.size.groups["called-off"]
    shop.begin("called-off")
    shop.until("called-off", lambda now: now["ends"].get("delivered", 0) > number / 5)
    shop.told("campaign", "cancel", "called-off", "--reason", "a wrong price")
    report = shop.finished("called-off")
    assert (report["state"], report["why"]) == ("cancelled", "a wrong price")
    assert number / 5 < report["ends"]["delivered"] < number
    return report


def stopped_by_its_rule(shop: Shop) -> dict[str, Any]:
    """Too many bounces end it, long before all have got it."""
    shop.begin("dirty")
    report = shop.finished("dirty")
    assert report["state"] == "stopped"
    assert f"more than {_RULE} %" in report["why"]
    ended = report["ends"]["delivered"] + report["ends"]["bounced"]
    assert 100 <= ended < shop.size.groups["dirty"]
    return report


def test_a_pause_a_cancel_and_a_stop_rule(tmp_path: Path) -> None:
    campaigns(tmp_path, Size(400, pace=100))


@pytest.mark.long
def test_two_hundred_thousand_contacts(tmp_path: Path) -> None:
    campaigns(tmp_path, Size(200_000, pace=0))
