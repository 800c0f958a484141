"""Pools of codes over HTTP: their time of expiry, their list, and the check when a scenario is published."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from actors.cli.coupons import _moment
from actors.gateway.server import Gateway
from engine.errors import InputError
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import network_client
from tests.actors.planning.town import town

TEXT = """scenario: s
entry: e
steps:
  - id: code
    coupon: spring
  - id: day
    wait: 1d
"""


def talk(folder: Path, what: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def story() -> None:
        async with town(folder, keep=False) as place:
            gateway = Gateway(
                place.config, MemoryBackend(), CollectorRegistry(), planning=place.keeper
            )
            async with network_client(gateway) as client:
                await what(client)

    asyncio.run(story())


async def publish(client: httpx.AsyncClient, text: str = TEXT, **more: Any) -> httpx.Response:
    body = {"text": text, "file": "s.yaml", **more}
    return await client.post("/v1/scenarios", json=body)


async def fill(client: httpx.AsyncClient, pool: str = "spring", **more: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/coupons/{pool}", json={"codes": ["A"], **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_pool_that_is_not_there_is_refused_with_its_place(tmp_path: Path) -> None:
    async def asked(client: httpx.AsyncClient) -> None:
        for preview in (True, False):
            refused = await publish(client, preview=preview)
            assert refused.status_code == 400
            assert "the pool `spring` isn't there" in refused.text
            assert "s.yaml" in refused.text
        await fill(client, "sprung")
        assert "did you mean `sprung`" in (await publish(client)).text
        await fill(client)
        assert (await publish(client)).status_code == 200

    talk(tmp_path, asked)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"expires_at": "2020-01-01T00:00:00Z"}, "has expired"),
        ({"codes": []}, "has no code left"),
    ],
)
def test_a_pool_that_gives_nothing_is_refused_unless_it_is_used_already(
    tmp_path: Path, state: dict[str, Any], said: str
) -> None:
    async def asked(client: httpx.AsyncClient) -> None:
        await fill(client, "other")
        assert (await publish(client, TEXT.replace("spring", "other"))).status_code == 200
        await fill(client, **state)
        refused = await publish(client)
        assert f"the pool `spring` {said}" in refused.text
        await client.post("/v1/coupons/other/close", json={})
        longer = TEXT.replace("spring", "other").replace("1d", "2d")
        assert (await publish(client, longer)).status_code == 200  # an edit goes live

    talk(tmp_path, asked)


def test_pools_are_listed_with_their_time(tmp_path: Path) -> None:
    async def asked(client: httpx.AsyncClient) -> None:
        await fill(client, "b")
        made = await fill(client, "a", expires_at="2027-01-31T20:00:00+01:00")
        assert made["expires_ms"] == 1_801_422_000_000
        kept = await fill(client, "a", codes=["B"])  # as it was
        assert kept["expires_ms"] == 1_801_422_000_000
        listed = (await client.get("/v1/coupons")).json()["pools"]
        assert [(one["pool"], one["left"]) for one in listed] == [("a", 2), ("b", 1)]
        later = await fill(client, "a", expires_at=1_901_422_000_000)
        assert later["expires_ms"] == 1_901_422_000_000

    talk(tmp_path, asked)


def test_the_command_takes_a_date_for_its_end_and_wants_a_zone() -> None:
    assert _moment("") is None
    assert _moment("2027-01-31") == "2027-02-01T00:00:00+00:00"
    assert _moment("2027-01-31T20:00+01:00") == "2027-01-31T20:00:00+01:00"
    for wrong in ("tomorrow", "2027-01-31T20:00"):
        with pytest.raises(InputError, match="no time with a zone"):
            _moment(wrong)
