"""An instance in a thread for commands to speak to, and a way to run them in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.cli.main import run
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import gateway_for


class Instance:
    """A gateway over an engine in memory, served in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.backend = MemoryBackend()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(20), "the gateway didn't begin"

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        text = 'http.port = 0\n[[tenant]]\n[[tenant]]\nname = "other"\n'
        gateway = gateway_for(text, self.backend, self.data)
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(gateway.serve(ready, self._stop))
            await ready.wait()
            self._ready.set()

    def call(self, what: Callable[[], None]) -> None:
        """Do something in the instance's loop."""
        self._loop.call_soon_threadsafe(what)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path)
    yield made
    made.end()


class Said:
    """What a command printed, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


Veredus = Callable[..., Said]


@pytest.fixture
def veredus(capsys: pytest.CaptureFixture[str]) -> Veredus:
    """Run a command in this process."""

    def call(*arguments: str | Path) -> Said:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return call
