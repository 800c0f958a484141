"""The demo's log is a log, the same for the same seed, and behaves as was measured."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from datetime import date
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from actors.demo import behaviour
from actors.demo.generator import DemoEvent, DemoSettings, generate, write_log
from actors.demo.people import DOMAINS
from actors.replay.reading import open_log
from actors.replay.sorting import survey

CONTACTS = 2_500
Orders = dict[str, list[tuple[int, int, int]]]  # contact: day, value, items


@pytest.fixture(scope="module")
def events() -> list[DemoEvent]:
    return list(generate(DemoSettings(contacts=CONTACTS, days=behaviour.LOG_DAYS, seed=1)))


@pytest.fixture(scope="module")
def orders(events: list[DemoEvent]) -> Orders:
    found: Orders = defaultdict(list)
    begin = date.fromisoformat(events[0].at[:10]).toordinal()
    for event in events:
        if event.event == "order.placed":
            day = date.fromisoformat(event.at[:10]).toordinal() - begin
            found[event.contact].append((day, event.data["value"], event.data["items"]))
    return found


def gaps(orders: Orders) -> list[int]:
    return sorted(
        following[0] - one[0] for rows in orders.values() for one, following in pairwise(rows)
    )


def share_up_to(values: list[int], bound: int) -> float:
    return bisect_left(values, bound + 1) / len(values)


def test_every_contact_orders_and_the_number_of_orders_is_as_measured(orders: Orders) -> None:
    assert len(orders) == CONTACTS
    counts = Counter(len(rows) for rows in orders.values())
    for number, share in enumerate(behaviour.ORDERS_SHARE, start=1):
        assert counts[number] / CONTACTS == pytest.approx(share, abs=0.04)
    assert sum(map(len, orders.values())) / CONTACTS == pytest.approx(
        behaviour.ORDERS_MEAN, abs=0.3
    )


def test_times_between_orders_are_as_measured(orders: Orders) -> None:
    days = gaps(orders)
    for share, quantile in behaviour.GAP_DAYS:
        assert share_up_to(days, quantile) == pytest.approx(share, abs=0.05)
    assert share_up_to(days, 0) == pytest.approx(behaviour.GAP_SAME_DAY, abs=0.02)
    assert 1 - share_up_to(days, 89) == pytest.approx(behaviour.GAP_90_DAYS, abs=0.04)


def test_who_comes_back_and_when_is_as_measured(orders: Orders) -> None:
    for within, share in behaviour.REPEAT_WITHIN:
        back = sum(
            any(0 < day - rows[0][0] <= within for day, _, _ in rows) for rows in orders.values()
        )
        assert back / CONTACTS == pytest.approx(share, abs=0.05)


def test_first_orders_come_week_by_week_as_measured(orders: Orders) -> None:
    weeks = Counter(rows[0][0] // 7 for rows in orders.values())
    assert set(weeks) == set(range(len(behaviour.FIRST_ORDERS_BY_WEEK)))
    for week, share in enumerate(behaviour.FIRST_ORDERS_BY_WEEK):
        assert weeks[week] / CONTACTS == pytest.approx(share, abs=0.02)


def test_order_values_are_as_measured(orders: Orders) -> None:
    values = sorted(value for rows in orders.values() for _, value, _ in rows)
    for share, quantile in behaviour.VALUE:
        assert share_up_to(values, quantile) == pytest.approx(share, abs=0.04)
    assert sum(values) / len(values) == pytest.approx(behaviour.VALUE_MEAN, rel=0.08)
    items = [number for rows in orders.values() for _, _, number in rows]
    assert sum(items) / len(items) == pytest.approx(behaviour.ITEMS_MEAN, rel=0.06)


def test_carts_visits_and_consents_are_as_stated(events: list[DemoEvent]) -> None:
    names = Counter(event.event for event in events)
    assert set(names) == {"product.viewed", "cart.updated", "order.placed"}
    # Carts that come to nothing follow their order, so some fall behind the end of the log.
    abandoned = 1 - names["order.placed"] / names["cart.updated"]
    assert abandoned == pytest.approx(behaviour.CART_ABANDONED, abs=0.02)
    firsts = [event for event in events if event.attributes]
    consenting = sum(bool(event.consents) for event in firsts) / len(firsts)
    assert consenting == pytest.approx(behaviour.CONSENTING, abs=0.02)


def test_an_order_follows_its_cart_and_a_contact_begins_with_a_view(
    events: list[DemoEvent],
) -> None:
    carts: set[tuple[str, str, int]] = set()
    for event in events:
        if event.event == "product.viewed":
            continue
        assert not event.attributes
        content = (event.contact, event.data["title"], event.data["value"])
        if event.event == "cart.updated":
            carts.add(content)
        else:
            assert content in carts


def test_addresses_are_unlike_each_other_and_at_domains_of_twins(events: list[DemoEvent]) -> None:
    addresses = [event.attributes["email"] for event in events if event.attributes]
    assert len(set(addresses)) == len(addresses) == CONTACTS
    assert {address.partition("@")[2] for address in addresses} == set(DOMAINS)
    assert all(address.isascii() for address in addresses)


def test_the_same_seed_gives_the_same_log_and_another_one_another(tmp_path: Path) -> None:
    small = DemoSettings(contacts=60, days=30)
    for name, settings in (
        ("a", small),
        ("b", small),
        ("c", msgspec.structs.replace(small, seed=8)),
    ):
        write_log(settings, tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_more_contacts_change_nothing_for_those_that_were_there() -> None:
    few = list(generate(DemoSettings(contacts=20, days=40)))
    many = generate(DemoSettings(contacts=40, days=40))
    known = {event.contact for event in few}
    assert [event for event in many if event.contact in known] == few


@pytest.mark.parametrize("days", [1, 7, 84, 200])
def test_the_log_is_in_the_documented_form_sorted_and_within_its_days(
    tmp_path: Path, days: int
) -> None:
    path = tmp_path / "demo.ndjson"
    settings = DemoSettings(contacts=50, days=days)
    count = write_log(settings, path)
    surveyed = survey(open_log(path))
    assert surveyed.sorted
    assert surveyed.rows == count > 0
    assert settings.begin_ms <= surveyed.first_ms
    assert surveyed.last_ms < settings.begin_ms + days * 86_400_000
    ids = [row.input_id for row in open_log(path)]
    assert len(set(ids)) == count
