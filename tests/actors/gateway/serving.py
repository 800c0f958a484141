"""Runs requests against a gateway: without sockets for most tests, on real ones where sockets are the subject."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry

from actors.backend import Backend
from actors.gateway.server import Gateway
from engine.config import parse


def gateway_for(text: str, backend: Backend, folder: Path = Path("unused")) -> Gateway:
    """Make a gateway of a configuration whose data directory is a given folder."""
    return Gateway(parse(f'data_dir = "{folder}"\n{text}'), backend, CollectorRegistry())


@contextlib.asynccontextmanager
async def network_client(gateway: Gateway, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Ask the network's door, in this process."""
    transport = httpx.ASGITransport(app=gateway.network)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as client:
        yield client


@contextlib.asynccontextmanager
async def served(gateway: Gateway) -> AsyncIterator[Gateway]:
    """Serve on real sockets while inside."""
    ready, stop = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(gateway.serve(ready, stop))
        waiting = group.create_task(ready.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            if not task.done():
                yield gateway
        finally:
            stop.set()
