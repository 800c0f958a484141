"""Mode `live` over real sockets: a name server on loopback, hosts on 127.0.0.x, everything from domain to outcome."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mail_world import World, in_world

ZONE = """
["a.test"]
MX = ["10 mx1.a.test", "20 mx2.a.test"]
["b.test"]
MX = ["10 mx1.a.test", "20 mx2.a.test"]
["mx1.a.test"]
A = ["127.0.0.11"]
["mx2.a.test"]
A = ["127.0.0.12"]
["equal.test"]
MX = ["5 one.equal.test", "5 two.equal.test"]
["one.equal.test"]
A = ["127.0.0.11"]
["two.equal.test"]
A = ["127.0.0.12"]
["bare.test"]
A = ["127.0.0.12"]
["null.test"]
MX = ["0 ."]
["broken.test"]
fail = "servfail"
["hostless.test"]
MX = ["10 nowhere.test"]
["alias.test"]
CNAME = ["a.test"]
["dead.test"]
MX = ["10 gone.dead.test", "20 mx2.a.test"]
["gone.dead.test"]
A = ["127.0.0.13"]
"""

Main = Callable[[World], Coroutine[Any, Any, None]]


def _run(main: Main, folder: Path, **more: Any) -> None:
    in_world(main, folder, ZONE, {11: None, 12: None}, **more)


def test_mail_goes_to_the_host_of_lowest_preference(tmp_path: Path) -> None:
    """And domains behind the same hosts share its connections, under the name of the site."""

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test", "y@b.test", "z@alias.test")
        assert {one.kind for one in got.values()} == {"delivered"}
        assert {one.host for one in got.values()} == {"mx1.a.test"}
        assert sorted(world.hosts[11].recipients) == ["x@a.test", "y@b.test", "z@alias.test"]
        assert list(world.office.delivery.routes) == ["default/(mx1|mx2).a.test"]

    _run(main, tmp_path)


def test_dns_is_asked_once_for_many_messages(tmp_path: Path) -> None:
    """Not on the way of messages."""

    async def main(world: World) -> None:
        await world.office.send(*(f"u{n}@a.test" for n in range(50)))
        assert world.names.asked["MX a.test"] == 1
        assert world.names.asked["A mx1.a.test"] == 1

    _run(main, tmp_path)


def test_the_next_host_takes_over_while_the_first_is_down(tmp_path: Path) -> None:
    """Refusing connections, or refusing in the greeting."""

    async def main(world: World) -> None:
        got = await world.office.send("x@dead.test")
        assert got["x@dead.test"].host == "mx2.a.test"
        world.hosts[11].manner = "refuses"
        got = await world.office.send("x@a.test")
        assert (got["x@a.test"].kind, got["x@a.test"].host) == ("delivered", "mx2.a.test")

    _run(main, tmp_path)


def test_equal_preferences_share_the_work(tmp_path: Path) -> None:
    """RFC 5321 §5.1."""

    async def main(world: World) -> None:
        await world.office.send(*(f"u{n}@equal.test" for n in range(40)))
        assert world.hosts[11].taken
        assert world.hosts[12].taken

    _run(main, tmp_path)


def test_a_domain_without_mx_takes_mail_at_its_address(tmp_path: Path) -> None:
    """The implicit MX of RFC 5321 §5.1."""

    async def main(world: World) -> None:
        got = await world.office.send("x@bare.test")
        assert got["x@bare.test"].host == "bare.test"

    _run(main, tmp_path)


@pytest.mark.parametrize(
    ("domain", "kind", "enhanced"),
    [
        ("null.test", "bounced", "5.1.10"),
        ("nosuch.test", "bounced", "5.1.2"),
        ("hostless.test", "bounced", "5.4.4"),
        ("broken.test", "deferred", "4.4.3"),
    ],
)
def test_nowhere_to_go_is_for_good_or_for_now(
    domain: str, kind: str, enhanced: str, tmp_path: Path
) -> None:
    """SERVFAIL is not NXDOMAIN; nothing is connected to."""

    async def main(world: World) -> None:
        got = await world.office.send(f"x@{domain}")
        one = got[f"x@{domain}"]
        assert (one.kind, one.enhanced, one.phase) == (kind, enhanced, "resolve")
        assert not world.office.marks.begun

    _run(main, tmp_path)


def test_no_domain_can_point_at_this_machine(tmp_path: Path) -> None:
    """By default loopback is prohibited: DNS of strangers doesn't lead to services of ours."""

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert got["x@a.test"].kind == "deferred"
        assert "prohibited_networks" in got["x@a.test"].text
        assert not world.hosts[11].taken

    _run(main, tmp_path, prohibited=True)


def test_a_destination_can_be_named(tmp_path: Path) -> None:
    """Hosts and order of the configuration, in place of DNS."""

    async def main(world: World) -> None:
        got = await world.office.send("x@null.test")
        assert got["x@null.test"].host == "mx2.a.test"

    named = '[delivery.destinations."null.test"]\nhosts = ["mx2.a.test", "mx1.a.test"]'
    _run(main, tmp_path, more=named)


def test_when_all_hosts_are_down_mail_waits(tmp_path: Path) -> None:
    """Deferred by the connection, and nothing is begun."""

    async def main(world: World) -> None:
        for host in world.hosts.values():
            await host.stop()
        got = await world.office.send("x@a.test", "y@a.test")
        assert {(one.kind, one.cause) for one in got.values()} == {("deferred", "connection")}
        assert not world.office.marks.begun

    _run(main, tmp_path)


def test_sources_share_by_weight_and_go_out_on_a_signal(tmp_path: Path) -> None:
    """Connections come from the addresses of the pool; one that is taken out is left at once, and comes back."""
    from actors.source_state import write_absences
    from deliverability.routing.sources import Absence

    async def main(world: World) -> None:
        office = world.office
        await office.send(*(f"u{n}@a.test" for n in range(60)))
        peers = world.hosts[11].peers
        assert {(p.address, p.helo_name) for p in peers} == {
            ("127.0.0.21", "one.shop.example"),
            ("127.0.0.22", "two.shop.example"),
        }
        write_absences(tmp_path, {"one": Absence("listed", 0)})
        del peers[:]
        await office.ticking(lambda: office.delivery.open_connections <= 2)
        await office.send(*(f"v{n}@a.test" for n in range(60)))
        assert {p.address for p in peers} == {"127.0.0.22"}
        write_absences(tmp_path, {})

    sources = """
[[source]]
name = "one"
address = "127.0.0.21"
ehlo_name = "one.shop.example"
[[source]]
name = "two"
address = "127.0.0.22"
ehlo_name = "two.shop.example"
[[pool]]
name = "default"
members = [{ source = "one", weight = 3 }, { source = "two", weight = 2 }]
"""
    _run(main, tmp_path, more=sources)
