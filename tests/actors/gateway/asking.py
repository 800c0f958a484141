"""Asking a gateway over its network interface, with a backend in memory behind it, and reading problems."""

from __future__ import annotations

__all__ = ("EVENT", "Stalling", "Talk", "problem", "talk")

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from actors.backend import Arrival, ItemResult
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import gateway_for, network_client

Talk = Callable[[httpx.AsyncClient], Awaitable[None]]
EVENT = {"id": "e1", "name": "order.placed", "contact": "c1", "at": "2024-05-01T12:00:00.123Z"}


def talk(what: Talk, backend: MemoryBackend | None = None, text: str = "", **headers: str) -> None:
    async def run() -> None:
        gateway = gateway_for(text, backend or MemoryBackend())
        async with network_client(gateway, **headers) as client:
            await what(client)

    asyncio.run(run())


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["type"] == f"urn:veredus:problem:{kind}"
    assert told["status"] == status
    assert "Traceback" not in response.text
    return told


class Stalling(MemoryBackend):
    """Answers when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.go = asyncio.Event()

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        self.entered.set()
        await self.go.wait()
        return await super().admit(arrivals)
