"""A twin or its inbox run by hand, in an event loop of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

__all__ = ("run_inbox", "run_twin")

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
import uvloop

from actors.twin.clock import WallClock
from actors.twin.inbox import application
from actors.twin.record import Recorder, RecorderOptions
from actors.twin.server import TwinServer, TwinServerOptions
from actors.twin.signatures import keys_in
from deliverability.twin.config import TwinConfig
from deliverability.twin.twin import TwinCounts
from engine.errors import InputError, Place, RefusedError


def run_twin(
    config: TwinConfig,
    data: Path,
    server_options: TwinServerOptions,
    recorder_options: RecorderOptions,
    ready: Callable[[TwinServer], None],
) -> TwinCounts:
    """Run a twin on the wall clock; `ready` is called once it listens.

    Raises:
        RefusedError: the port is taken.
        InputError: the data directory can't be written.
    """
    return uvloop.run(_twin(config, data, server_options, recorder_options, ready))


async def _twin(
    config: TwinConfig,
    data: Path,
    server_options: TwinServerOptions,
    recorder_options: RecorderOptions,
    ready: Callable[[TwinServer], None],
) -> TwinCounts:
    try:
        recorder = Recorder(data / "twin", recorder_options)
    except OSError as error:
        place = Place(file=str(data / "twin"))
        raise InputError(f"can't be written: {error.strerror}", place, "see --data") from None
    server = TwinServer(config, WallClock(), recorder, server_options, keys_in(data))
    try:
        try:
            await server.start()
        except OSError as error:
            raise _taken(server_options.host, server_options.port, error) from None
        with _until_signal() as ended:
            ready(server)
            await ended.wait()
    finally:
        await server.close()
    return server.twin.counts()


def run_inbox(data: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the inbox of a data directory; `ready` is called with its address once it listens.

    Raises:
        RefusedError: the port is taken.
    """
    try:
        listening = socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise _taken(host, port, error) from None
    with listening:
        uvloop.run(_inbox(data, listening, ready))


async def _inbox(data: Path, listening: socket.socket, ready: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        application(data / "twin", keys_in(data)),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
    )
    server = _Server(config)
    with _until_signal() as ended:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        waiting = asyncio.create_task(ended.wait())
        host, port = listening.getsockname()[:2]
        ready(f"http://{host}:{port}/")
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        waiting.cancel()
        await serving


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_until_signal`."""
        yield


@contextlib.contextmanager
def _until_signal() -> Iterator[asyncio.Event]:
    """Give an event that SIGTERM and SIGINT set."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        yield ended
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _taken(host: str, port: int, error: OSError) -> RefusedError:
    return RefusedError(
        f"can't listen on {host}:{port}: {error.strerror or error}",
        mend="choose another port with --port; 0 takes any free one",
    )
