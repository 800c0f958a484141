"""A stream over its limit waits for its turn, durable and without burning attempts, and holds no other stream up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.gateway.server import Gateway
from actors.pacing_rules import flows_of, options_of, rules_of
from actors.worker.assembly import Ports
from actors.worker.pacing import PaceDesk
from deliverability.pacing.pacer import Pacer
from engine.config import Stream, parse
from engine.errors import ConfigError
from engine.settings_pacing import Limit, Pacing
from tests.actors.gateway.serving import network_client
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Embedded, embedded


async def post(here: Embedded, key: str, stream: str) -> None:
    gateway = Gateway(here.config, here.backend, CollectorRegistry(), injector=here.injector)
    body: dict[str, Any] = {
        "idempotency_key": key,
        "inline": {"subject": "Hi", "html": "<p>Hi</p>"},
        "to": [{"address": f"{key}@inbox.example"}],
        "stream": stream,
    }
    async with network_client(gateway) as client:
        response = await client.post("/v1/messages", json=body)
    assert response.status_code == 202, response.text


def test_a_limited_stream_waits_and_the_others_go(tmp_path: Path) -> None:
    """One an hour: the first goes, four are scheduled; of the other stream all go; nothing is lost or twice."""
    limit = Limit(rate="1/hr", stream="alerts")
    pacing = Pacing(mode="on", limit=(limit,), rule_pack=False, first_per_hour=360_000.0)
    streams = {"alerts": Stream(consent_topic="")}
    config = msgspec.structs.replace(config_of(tmp_path), pacing=pacing, streams=streams)
    options = options_of(config)
    desk = PaceDesk("w0", Pacer(rules_of(config), options, 0).ask, options.flows)

    async def run() -> None:
        async with embedded(config, ports=Ports(pace=desk)) as here:
            for number in range(5):
                await post(here, f"m{number}", "alerts")
                await post(here, f"t{number}", "transactional")
            await here.until(lambda: len(here.mails) == 6)
            law = await here.law()
            assert (law["accepted"], law["delivered"], law["queued"]) == (10, 6, 4)
            assert sorted(one.recipient[0] for one in here.mails) == ["m"] + ["t"] * 5

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate = '10/fortnight'\nstream = 'marketing'", "expected a period after the /"),
        ("rate = 'local:10/hr'\nstream = 'marketing'", "isn't local"),
        ("rate = '10/hr'", "a limit is of a tenant or a stream"),
        ("rate = '10/hr'\nstream = 'nothing'", "there is no stream 'nothing'"),
        ("rate = '10/hr'\ntenant = 'nobody'", "there is no tenant 'nobody'"),
        ("rate = '10/hr'\nstream = 'marketing'\nsource = 'x'", "there is no source 'x'"),
    ],
)
def test_mistakes_in_limits_say_what_was_expected(text: str, said: str) -> None:
    """Where the configuration is read, before anything begins."""
    with pytest.raises(ConfigError) as found:
        flows_of(parse(f"[[pacing.limit]]\n{text}\n"))
    assert said in str(found.value)


def test_the_same_limit_twice_is_a_mistake() -> None:
    """It would count everything twice."""
    one = "[[pacing.limit]]\nrate = '10/hr'\nstream = 'marketing'\n"
    with pytest.raises(ConfigError, match="written twice"):
        flows_of(parse(one + one))
    assert flows_of(parse(one))[0].name == "stream marketing 10/hr"
    bytes_too = flows_of(
        parse(one + one.replace("10/hr", "10/hr,max_burst=5") + one + "of = 'bytes'\n")
    )
    assert [one.of for one in bytes_too] == ["messages", "messages", "bytes"]
    assert bytes_too[1].throttle.burst == 5


def test_transactional_mail_passes_a_tenants_bulk_that_waits(tmp_path: Path) -> None:
    """The tenant's limit is used up by bulk; a message to one person goes at once, and bulk pays for it."""
    limit = Limit(rate="2/hr", tenant="default")
    pacing = Pacing(mode="on", limit=(limit,), rule_pack=False, first_per_hour=360_000.0)
    streams = {"marketing": Stream(consent_topic="")}
    config = msgspec.structs.replace(config_of(tmp_path), pacing=pacing, streams=streams)
    options = options_of(config)
    desk = PaceDesk("w0", Pacer(rules_of(config), options, 0).ask, options.flows)

    async def run() -> None:
        async with embedded(config, ports=Ports(pace=desk)) as here:
            for number in range(6):
                await post(here, f"m{number}", "marketing")
            await here.until(lambda: bool(here.mails))
            for number in range(5):
                await post(here, f"t{number}", "transactional")
            await here.until(lambda: sum(one.recipient[0] == "t" for one in here.mails) == 5)
            law = await here.law()
            assert law["queued"] >= 4, "bulk waits"
            assert law["accepted"] == law["delivered"] + law["queued"] == 11

    asyncio.run(run())
