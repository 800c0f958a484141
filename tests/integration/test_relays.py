"""Three relays that are killed and hang in turn under load: every message arrives, doubled at most where in doubt."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import uvloop

from tests.integration.mail_world import MailHost, World, relay_world

CONFIG = """
[delivery]
mode = "relay"
allow = "any"
attempt_log = "off"
[delivery.relay]
host = "127.0.0.31"
port = @PORT@
starttls = "none"
[[delivery.backup]]
host = "127.0.0.32"
port = @PORT@
starttls = "none"
[[delivery.backup]]
host = "127.0.0.33"
port = @PORT@
starttls = "none"
[delivery.breaker]
failures_max = 2
first_s = 1
max_s = 1
[delivery.timeouts]
mail_s = 1
rcpt_s = 1
data_s = 1
dot_s = 1
[[tenant]]
from_domains = ["shop.example"]
"""
ADDRESSES = ("127.0.0.31", "127.0.0.32", "127.0.0.33")
IN_FLIGHT = 60


class Load:
    """Keeps messages in flight; what isn't delivered is handed over again, as the message machine would."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.delivered: set[str] = set()
        self.doubts = 0
        self.wanted: set[str] = set()
        self.stopping = False
        self._number = 0

    async def run(self) -> None:
        office = self.world.office
        in_flight: set[str] = set()
        again: list[str] = []
        while in_flight or again or not self.stopping:
            while len(in_flight) < IN_FLIGHT and (again or not self.stopping):
                address = again.pop() if again else self._next()
                in_flight.add(address)
                await office.hand_over(address)
            office.news.clear()
            outcomes = office.egress.outcomes()
            if not outcomes:
                await office.news.wait()
            for one in outcomes:
                address = one.message.address
                in_flight.discard(address)
                if one.outcome.kind == "delivered":
                    self.delivered.add(address)
                    continue
                assert one.outcome.kind in ("deferred", "in_doubt", "unattempted"), one.outcome
                self.doubts += one.outcome.kind == "in_doubt"
                again.append(address)

    def _next(self) -> str:
        self._number += 1
        address = f"u{self._number}@d{self._number % 7}.test"
        self.wanted.add(address)
        return address


async def _progress(load: Load, host: MailHost, more: int = 200) -> None:
    """Wait until a host took so many more."""
    goal = len(host.taken) + more
    await load.world.office.ticking(lambda: len(host.taken) >= goal)


async def _kill_and_hang(world: World) -> None:
    primary, second, third = (world.hosts[n] for n in range(3))
    load = Load(world)
    running = asyncio.create_task(load.run())
    await _progress(load, primary)
    assert not second.taken, "a backup has nothing to do while the primary is up"
    await primary.stop()
    await _progress(load, second)
    second.manner = "hangs at the dot"
    await _progress(load, third)
    second.manner = "good"
    third.manner = "hangs at mail"
    await _progress(load, second)
    third.manner = "good"
    await primary.start(world.port)
    await _progress(load, primary)  # fail-back
    primary.manner = "refuses"
    for connection in list(primary.live()):
        connection.close("killed")
    await _progress(load, second)
    primary.manner = "good"
    await world.office.ticking(lambda: bool(primary.connections) and not second.connections)
    load.stopping = True
    await world.office.ticking(running.done)
    await running

    taken = Counter(path for host in world.hosts.values() for path in host.recipients)
    assert load.wanted == load.delivered
    assert load.wanted == set(taken), "every message arrived"
    doubled = sum(number - 1 for number in taken.values())
    assert doubled <= load.doubts


def test_relays_are_killed_and_hang_in_turn(tmp_path: Path) -> None:
    """Primary, backups, breaker, fail-back; nothing is lost, nothing doubled without a doubt."""

    async def run() -> None:
        async with relay_world(tmp_path, CONFIG, ADDRESSES) as world:
            await _kill_and_hang(world)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
