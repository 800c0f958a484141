"""Who gets which mail of the library's onboarding, win-back and cross-sell, under caps and quiet hours: computed apart.

    python recompute.py events CDNOW.csv.gz EVENTS.ndjson     write a purchase log as events of accounts and orders
    python recompute.py expected EVENTS.ndjson                print how many mails must go, by scenario and step

This file shares no code with Veredus, and knows the scenarios only from their documents: a journey is a generator that
yields what it waits for, a person is a queue of what is due. What a purchase log lacks is stated here:

- the first order opens the account; an order of two items or more completes the profile six hours later; an order on a
  later day than the first one begins a project; an order of 0.00 closes the account eight hours later;
- each order is delivered three days later at 15:00 UTC, its products one for each item (at most three), its category
  one of four by the number of items; interests are two of the four by the customer's number;
- customers live in Warsaw, London, New York or Sydney by their number; one in eleven agrees to no tips, one in seven to
  no offers, and whoever's number ends in 77 withdraws offers a hundred days after the first order.
"""

from __future__ import annotations

import collections
import csv
import datetime as dt
import gzip
import hashlib
import heapq
import itertools
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
ZONES = ("Europe/Warsaw", "Europe/London", "America/New_York", "Australia/Sydney")
CATEGORIES = ("rock", "jazz", "folk", "opera")
QUIET = (21, 8)
WEEKLY_OFFERS = 1
MONTHLY = 2

Row = dict[str, Any]
Wanted = collections.Counter[tuple[str, str, str, int]]


# ---- from purchases to events


def orders_of(path: Path) -> Iterator[tuple[str, dt.date, int, int]]:
    """Give customer, day, items and value in cents of each order."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            day = dt.datetime.strptime(row["date"], "%Y%m%d").replace(tzinfo=dt.UTC).date()
            whole, _, cents = row["dollar_value"].partition(".")
            yield (
                row["customer_id"],
                day,
                int(row["number_of_cds"]),
                int(whole) * 100 + int((cents + "00")[:2]),
            )


def invented(customers: int) -> Iterator[tuple[str, dt.date, int, int]]:
    """Give orders of invented customers: up to six, gaps that grow, now and then two on one day or one of 0.00."""
    begin = dt.date(1997, 1, 6)
    for number in range(customers):
        raw = hashlib.sha256(str(number).encode()).digest()
        day = begin + dt.timedelta(days=raw[0] % 60)
        for at in range(1 + raw[1] % 6):
            yield f"{number:05}", day, raw[2 + at] % 5, 0 if raw[8 + at] < 6 else raw[8 + at] * 40
            gap = raw[14 + at] % 120
            day += dt.timedelta(days=0 if gap < 5 else 90 if gap > 112 else gap)


def events_of(orders: Iterable[tuple[str, dt.date, int, int]]) -> list[Row]:
    """Make events of orders, by rising time; at one time in the order in which they were made."""
    by_customer: dict[str, list[tuple[dt.date, int, int]]] = {}
    for customer, day, items, value in orders:
        by_customer.setdefault(customer, []).append((day, items, value))
    rows: list[Row] = []
    for customer, found in by_customer.items():
        found.sort(key=lambda order: order[0])
        rows += _events(customer, found)
    rows.sort(key=lambda row: row["at"])
    return rows


def _events(customer: str, orders: list[tuple[dt.date, int, int]]) -> Iterator[Row]:
    number = int(customer)
    first = orders[0][0]
    for at, (day, items, value) in enumerate(orders):
        noon = (
            int(dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC).timestamp()) * SECOND
        )
        if at == 0:
            yield {**_row(customer, noon, "account.created"), **_person(number)}
        elif day > first:
            yield _row(customer, noon, "project.created")
        yield _row(customer, noon, "order.placed", value=value)
        if items >= 2:
            yield _row(customer, noon + 6 * HOUR, "profile.completed")
        if value == 0:
            yield _row(customer, noon + 8 * HOUR, "account.closed")
        products = [f"p{one}" for one in range(min(items, 3))]
        category = CATEGORIES[items % 4]
        data = {"order": f"{customer}-{at}", "category": category, "products": products}
        yield _row(customer, noon + 3 * DAY + 3 * HOUR, "order.delivered", **data)
    if number % 100 == 77:
        noon = int(dt.datetime(first.year, first.month, first.day, 12, tzinfo=dt.UTC).timestamp())
        left = _row(customer, noon * SECOND + 100 * DAY, "preferences.changed")
        yield {**left, "consents": [{"topic": "offers", "source": "page", "granted": False}]}


def _row(customer: str, at: int, event: str, **data: Any) -> Row:
    return {"event": event, "contact": customer, "at": at, "data": data}


def _person(number: int) -> Row:
    interests = [CATEGORIES[number % 4], CATEGORIES[number // 4 % 4]]
    consents = []
    if number % 11:
        consents.append({"topic": "tips", "source": "form"})
    if number % 7:
        consents.append({"topic": "offers", "source": "form"})
    attributes = {
        "email": f"c{number}@mail.test",
        "timezone": ZONES[number % 5 % 4],
        "interests": interests,
    }
    return {"attributes": attributes, "consents": consents}


# ---- the scenarios, from their documents


class Until:
    """Wait until a time."""

    def __init__(self, at: int) -> None:
        self.at = at


class Hear:
    """Wait for an event, at most until a time; gives whether it came."""

    def __init__(self, event: str, until: int) -> None:
        self.event = event
        self.at = until


Journey = Generator[Until | Hear, bool, None]


def onboarding(person: Person, own: Run) -> Journey:
    """Four mails at most."""
    own.send("welcome", "")
    if not (yield Hear("profile.completed", person.now + DAY)):
        own.send("finish-profile", "tips")
    yield Until(person.clock(person.now + 2 * DAY, 9, 9, range(5)))
    own.send("first-project", "tips")
    yield Until(person.now + 7 * DAY)
    own.send("need-help", "tips", patient=True, expires=person.now + 7 * DAY)
    yield Until(person.now + 7 * DAY)


def win_back(person: Person, own: Run) -> Journey:
    """Ninety days of silence; nine in ten are written to, twice."""
    yield Until(person.clock(person.now + 90 * DAY, 9, 20))
    if person.share("win-back/trial", 100) < 90:
        own.send("miss-you", "offers")
        yield Hear("mail.clicked", person.now + 14 * DAY)
        own.send("present-regular" if person.count("order.placed") >= 3 else "whats-new", "offers")
    yield Until(person.now + 30 * DAY)


def cross_sell(person: Person, own: Run) -> Journey:
    """Two weeks after a delivery."""
    yield Until(person.clock(person.now + 14 * DAY, 10, 18, (1, 2, 3)))
    if person.count("order.placed", 365 * DAY) >= 5:
        own.send("better", "offers")
    elif own.data["category"] in person.interests:
        own.send("goes-with-it", "offers")
    else:
        own.send("others-chose", "offers")
    yield Hear("mail.clicked", person.now + 5 * DAY)


class Mail:
    """A mail that isn't over: when it goes at the earliest, and what bounds it."""

    def __init__(self, run: Run, step: str, topic: str, expires: int, *, patient: bool) -> None:
        self.run, self.step, self.topic = run, step, topic
        self.expires, self.patient = expires, patient
        self.dead = False


class Run:
    """One journey."""

    def __init__(self, person: Person, scenario: str, data: Row) -> None:
        self.person, self.scenario, self.data = person, scenario, data
        self.over = False
        self.hears = ""
        self.turn = 0
        self.mails: list[Mail] = []
        makers: dict[str, Callable[[Person, Run], Journey]] = {
            "onboarding": onboarding,
            "win-back": win_back,
            "cross-sell": cross_sell,
        }
        self._steps = makers[scenario](person, self)
        self.go()

    def send(self, step: str, topic: str, *, patient: bool = False, expires: int = 0) -> None:
        """Decide a mail, which goes as soon as it may."""
        mail = Mail(self, step, topic, expires or self.person.now + 72 * HOUR, patient=patient)
        self.mails.append(mail)
        self.person.later(self.person.now, 1, lambda: self.person.hand_over(mail))

    def go(self, *, heard: bool | None = None) -> None:
        """Go on to the next wait."""
        self.turn += 1
        try:
            wait = next(self._steps) if heard is None else self._steps.send(heard)
        except StopIteration:
            self.over = True
            return
        self.hears = wait.event if isinstance(wait, Hear) else ""
        turn = self.turn
        if isinstance(wait, Until) and wait.at <= self.person.now:
            self.go(heard=False)
            return
        self.person.later(wait.at, 0, lambda: self._due(turn))

    def _due(self, turn: int) -> None:
        if not self.over and turn == self.turn:
            self.go(heard=False)

    def stop(self) -> None:
        """End it from outside: its mails that haven't gone never do."""
        self.over = True
        for mail in self.mails:
            mail.dead = True


class Person:
    """One customer."""

    def __init__(self, name: str, wanted: Wanted) -> None:
        self.name, self.wanted = name, wanted
        self.now = 0
        self.interests: list[str] = []
        self._zone = ZoneInfo("UTC")
        self._topics: dict[str, bool] = {}
        self._queue: list[tuple[int, int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._runs: list[Run] = []
        self._entered: dict[str, int] = {}
        self._times: dict[str, list[int]] = collections.defaultdict(list)
        self._got: list[tuple[int, str]] = []

    # what is due

    def later(self, at: int, rank: int, do: Callable[[], None]) -> None:
        """Do something at a time: waits before mail."""
        heapq.heappush(self._queue, (at, rank, next(self._order), do))

    def until(self, at: float) -> None:
        """Let time go on, what is due at its end included."""
        while self._queue and self._queue[0][0] <= at:
            due, _, _, do = heapq.heappop(self._queue)
            self.now = max(self.now, due)
            do()

    # what happens

    def hear(self, row: Row) -> None:
        """Take an event at its time; what is due by then was done."""
        self.now = row["at"]
        attributes = row.get("attributes", {})
        self.interests = attributes.get("interests", self.interests)
        if "timezone" in attributes:
            self._zone = ZoneInfo(attributes["timezone"])
        for consent in row.get("consents", ()):
            self._topics[consent["topic"]] = consent.get("granted", True)
        event, data = row["event"], row["data"]
        self._times[event].append(self.now)
        for run in [one for one in self._runs if not one.over]:
            if self._ends(run, event, data):
                run.stop()
            elif run.hears == event:
                run.go(heard=True)
        self._open(event, data)

    def _ends(self, run: Run, event: str, data: Row) -> bool:
        if run.scenario == "onboarding":
            return event in {"project.created", "account.closed"}
        if run.scenario == "win-back":
            return event == "account.closed"
        returned = event == "order.returned" and data.get("order") == run.data["order"]
        return event == "order.placed" or returned

    def _open(self, event: str, data: Row) -> None:
        if event == "account.created" and "onboarding" not in self._entered:
            self._begin("onboarding", data)
        if event == "order.placed":
            for run in self._under_way("win-back"):
                run.stop()
            self._begin("win-back", data)
        if event == "order.delivered" and data["products"] and not self._under_way("cross-sell"):
            last = self._entered.get("cross-sell")
            if last is None or self.now >= last + 60 * DAY:
                self._begin("cross-sell", data)

    def _under_way(self, scenario: str) -> list[Run]:
        return [one for one in self._runs if one.scenario == scenario and not one.over]

    def _begin(self, scenario: str, data: Row) -> None:
        self._entered[scenario] = self.now
        self._runs.append(Run(self, scenario, data))

    # what scenarios ask

    def count(self, event: str, within: int = 0) -> int:
        """Count an event: ever, or later than so long ago."""
        times = self._times[event]
        return len(times) if not within else sum(at > self.now - within for at in times)

    def share(self, salt: str, of: int) -> int:
        """Draw as docs/simulation.md says: a BLAKE2b of the contact's key, keyed with that of the salt."""
        name = f"default\0{self.name}".encode()
        key = hashlib.blake2b(name, digest_size=4).digest() + b"c" + name
        keyed = hashlib.blake2b(key, key=hashlib.blake2b(salt.encode()).digest(), digest_size=8)
        return int.from_bytes(keyed.digest(), "big") % of

    def clock(self, start: int, opens: int, closes: int, days: Iterable[int] = range(7)) -> int:
        """Find the first moment from `start` on within the hours of a day (opens == closes: just then), in the zone."""
        allowed = set(days)
        first = dt.datetime.fromtimestamp(start / 1000, self._zone).date()
        for day in (first + dt.timedelta(days=plus) for plus in range(10)):
            if day.weekday() not in allowed:
                continue
            begin, end = self._wall(day, opens), self._wall(day, closes)
            if start <= begin:
                return begin
            if start < end:
                return start
        raise AssertionError("every week has allowed days")

    def _wall(self, day: dt.date, hour: int) -> int:
        return (
            int(dt.datetime(day.year, day.month, day.day, hour, tzinfo=self._zone).timestamp())
            * SECOND
        )

    # mail

    def hand_over(self, mail: Mail) -> None:
        """Send a mail now, or later, or never: consent, caps, quiet hours, in this order."""
        if mail.dead:
            return
        if self.now >= mail.expires:
            mail.dead = True
            return
        if mail.topic and not self._topics.get(mail.topic, False):
            mail.dead = True
            return
        if mail.topic:
            free = self._free(mail.topic)
            if free and not mail.patient:
                mail.dead = True
                return
            later = free or self._quiet()
            if later:
                self.later(max(later, self.now + 1), 1, lambda: self.hand_over(mail))
                return
            self._got.append((self.now, mail.topic))
        mail.dead = True
        self.wanted[self.name, mail.run.scenario, mail.step, self.now] += 1

    def _free(self, topic: str) -> int:
        """Tell when the caps have room; 0: now."""
        free = 0
        if topic == "offers":
            lately = [at for at, what in self._got if what == "offers" and at >= self.now - 7 * DAY]
            if len(lately) >= WEEKLY_OFFERS:
                free = lately[-WEEKLY_OFFERS] + 7 * DAY + 1
        today = dt.datetime.fromtimestamp(self.now / 1000, self._zone).date()
        begin = today.replace(day=1)
        if sum(at >= self._wall(begin, 0) for at, _ in self._got) >= MONTHLY:
            free = max(free, self._wall((begin + dt.timedelta(days=31)).replace(day=1), 0))
        return free

    def _quiet(self) -> int:
        """Tell when quiet hours end; 0: it is none of them."""
        wall = dt.datetime.fromtimestamp(self.now / 1000, self._zone)
        begins, ends = QUIET
        if ends <= wall.hour < begins:
            return 0
        day = wall.date() if wall.hour < ends else wall.date() + dt.timedelta(days=1)
        return self._wall(day, ends)


def expected(rows: Iterable[Row]) -> Wanted:
    """Compute the mails that must go: contact, scenario, step, time in ms."""
    wanted: Wanted = collections.Counter()
    people: dict[str, Person] = {}
    for at, together in itertools.groupby(rows, key=lambda row: int(row["at"])):
        group = list(together)
        for name in {row["contact"] for row in group}:
            people.setdefault(name, Person(name, wanted)).until(at)
        for row in group:
            people[row["contact"]].hear(row)
    for person in people.values():
        person.until(float("inf"))
    return wanted


def write(rows: Iterable[Row], path: Path) -> None:
    """Write events as NDJSON."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read(path: Path) -> list[Row]:
    """Read events."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main() -> int:
    """Do what the command line says."""
    if len(sys.argv) == 4 and sys.argv[1] == "events":
        write(events_of(orders_of(Path(sys.argv[2]))), Path(sys.argv[3]))
        return 0
    if len(sys.argv) == 3 and sys.argv[1] == "expected":
        steps: collections.Counter[tuple[str, str]] = collections.Counter()
        for (_, scenario, step, _), number in expected(read(Path(sys.argv[2]))).items():
            steps[scenario, step] += number
        for (scenario, step), number in sorted(steps.items()):
            sys.stdout.write(f"{scenario} {step} {number}\n")
        return 0
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    sys.exit(main())
