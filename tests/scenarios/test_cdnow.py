"""The three scenarios of the acceptance run, over the real purchase log, by the contact machine alone."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import runpy
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from engine.vocabulary import ContactPut, Event
from tests.scenarios.world import World

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
LOG = SHARED / "corpora" / "engagement" / "cdnow_transactions.csv.gz"
SCENARIOS = [
    (ROOT / "tests" / "acceptance" / "scenarios" / f"{name}.yaml").read_text()
    for name in ("onboarding", "win-back", "cross-sell")
]


def _orders() -> list[tuple[int, str, dict[str, int]]]:
    orders = []
    with gzip.open(LOG, "rt") as file:
        for row in csv.DictReader(file):
            day = dt.datetime.strptime(row["date"], "%Y%m%d").replace(hour=12, tzinfo=dt.UTC)
            data = {
                "value": int(Decimal(row["dollar_value"]) * 100),
                "cds": int(row["number_of_cds"]),
            }
            orders.append((int(day.timestamp() * 1000), row["customer_id"], data))
    return sorted(orders, key=lambda order: order[0])


@pytest.mark.shared
@pytest.mark.skipif(not LOG.exists(), reason="needs ../shared beside the checkout")
def test_every_mail_of_the_purchase_log_is_decided_on_its_day_and_no_other() -> None:
    world = World(*SCENARIOS)
    known: set[str] = set()
    for at, contact, data in _orders():
        if at > world.now:
            world.until(at)
        if contact not in known:
            known.add(contact)
            world.give(contact, ContactPut({"email": f"c{contact}@example.com"}))
        world.give(contact, Event("order.placed", at, data))
    world.drain()
    expected = runpy.run_path(str(SHARED / "checks" / "cdnow.py"))["expected"](str(LOG))
    sent = Counter(
        (contact, send.scenario, send.step, _day(at)) for at, contact, _, send in world.sent
    )
    assert expected == sent
    assert sum(sent.values()) == 43_509
    assert len({identity for _, _, identity, _ in world.sent}) == 43_509


def _day(at: int) -> str:
    return dt.datetime.fromtimestamp(at / 1000, dt.UTC).date().isoformat()
