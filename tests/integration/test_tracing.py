"""A trace of a session, a probe, and the log of attempts, over real sockets."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec

from actors.one_session import knock, way_to
from actors.worker.attempts import attempts_of
from actors.worker.tracing import Wanted, trace_folder
from deliverability.routing.hops import Hop
from deliverability.routing.sources import SourceSpec
from tests.integration.mail_world import Authority, World, in_world
from tests.integration.test_live_routes import ZONE


def test_a_session_of_a_site_is_traced_and_others_are_not(tmp_path: Path) -> None:
    """Asked for by a file, written to files; no mailbox in it."""
    folder = trace_folder(tmp_path)
    folder.mkdir()
    wanted = Wanted("bare.test", 1, int(time.time() * 1000) + 60_000)
    (folder / "wanted.json").write_bytes(msgspec.json.encode(wanted))

    async def main(world: World) -> None:
        world.office.delivery.tick()
        await world.office.send("x@a.test", "hidden@bare.test")
        await world.office.delivery.close()
        (file,) = folder.glob("*.jsonl")
        head, *lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert head["host"] == "bare.test"
        texts = [line["text"] for line in lines]
        assert "EHLO out.shop.example" in texts
        assert any(text.startswith("RCPT TO:<…@bare.test>") for text in texts)
        assert "hidden" not in file.read_text()
        assert "hello" not in file.read_text(), "content isn't shown"

    in_world(main, tmp_path, ZONE, {11: None, 12: None})


def test_a_probe_opens_one_session_and_sends_nothing(tmp_path: Path) -> None:
    """Without an instance; TLS included."""
    context, _ = Authority(tmp_path).context("mx1.a.test")
    seen: list[str] = []

    def tap_of(_route: str, _domain: str, _source: SourceSpec, hop: Hop) -> None:
        seen.append(hop.name)

    async def main(world: World) -> None:
        way = await way_to(world.config, tmp_path, "a.test", tap_of=tap_of)
        assert await knock(way) == ""
        assert seen == ["mx1.a.test"]
        assert not world.hosts[11].taken
        await world.hosts[11].stop()
        await world.hosts[12].stop()
        assert "refused" in (await knock(way)).lower()

    in_world(main, tmp_path, ZONE, {11: context, 12: None})


def test_attempts_are_logged_without_addresses(tmp_path: Path) -> None:
    """One line each, in the form that docs/routes.md describes."""

    async def main(world: World) -> None:
        office = world.office
        delivery = msgspec.structs.replace(world.config.delivery, attempt_log="on")
        attempts = attempts_of(
            msgspec.structs.replace(world.config, delivery=delivery), tmp_path, "w0"
        )
        attempts.follow(office.delivery)
        await office.send("hidden@a.test")
        attempts.close()
        (file,) = (tmp_path / "attempts").glob("*.w0.jsonl")
        record = json.loads(file.read_text())
        assert "hidden" not in file.read_text()
        assert (record["kind"], record["code"], record["phase"]) == ("delivered", 250, "dot")
        assert (record["host"], record["address"]) == ("mx1.a.test", "127.0.0.11")
        assert record["domain"] == "a.test"

    in_world(main, tmp_path, ZONE, {11: None, 12: None})
