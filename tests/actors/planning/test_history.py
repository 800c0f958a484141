"""Publishing tells what the last days say about the change: who would take another path, get more mail or less."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from actors.gateway.server import Gateway
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import network_client
from tests.actors.planning.town import town

TEXT = """scenario: s
entry: e
reentry: always
steps:
  - id: rich
    if: event.value >= 100
    then:
      - {id: one, send: {template: a, topic: t}}
  - id: day
    wait: 1d
"""


def test_publishing_a_change_tells_what_history_says(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "a") as place:
            gateway = Gateway(
                place.config, MemoryBackend(), CollectorRegistry(), planning=place.keeper
            )

            async def publish(text: str) -> dict[str, Any]:
                answer = await client.post("/v1/scenarios", json={"text": text, "file": "s.yaml"})
                assert answer.status_code == 200, answer.text
                await place.use_catalog(place.keeper.versions.head().version)
                return dict(answer.json())

            async with network_client(gateway) as client:
                assert (await publish(TEXT))["history"] is None  # it is new
                await place.people(["poor", "rich"])
                await place.events(["poor"], "e", "1", value=50)
                await place.events(["rich"], "e", "1", value=500)
                told = (await publish(TEXT.replace("100", "10")))["history"]
                assert told["contacts"] == 2
                assert (told["other_path"], told["more_mail"], told["less_mail"]) == (1, 1, 0)
                assert told["examples"] == ["poor"]
                again = await publish(TEXT.replace("100", "10"))
                assert (again["changed"], again["history"]) == (False, None)

    asyncio.run(story())
