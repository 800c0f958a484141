"""One session of our own, outside an instance: to try a destination, or to bring one mail."""

from __future__ import annotations

__all__ = ("OneMail", "bring", "knock", "way_to")

import asyncio
from pathlib import Path
from typing import assert_never

from actors.worker.assembly import classify
from actors.worker.ways import TapOf, build_ways
from actors.worker.wire import WorkerSettings
from deliverability.governor import Lease
from deliverability.message.records import AttemptOutcome
from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Aborted, Accepted, Closed, Ending, Lost, Rejected
from deliverability.smtp.envelope import Transaction
from deliverability.transport.smtp_client import Connection
from deliverability.transport.target import Target
from deliverability.transport.way import Way
from engine.config import Config
from engine.errors import RefusedError, TransportError

_ONE = Lease(1, None, 1, None, 1, 5000)


class OneMail:
    """Owns a session that carries one mail, or none: then it says QUIT once it is ready.

    Args:
        way: hears of it, to know what failed.
        transaction: the envelope; None: only knock.
        content: the mail, with CRLF.
    """

    def __init__(self, way: Way, transaction: Transaction | None, content: bytes = b"") -> None:
        self._way = way
        self._transaction = transaction
        self._content = content
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Empty when all went well, else why not; whether another path is to be tried is in `again`."""
        self.again = False

    def next_transaction(self, connection: Connection) -> Transaction | None:
        """Give the one; then part."""
        self._way.began(connection)
        given, self._transaction = self._transaction, None
        if given is None:
            connection.quit()
        return given

    def content(self, connection: Connection, transaction: Transaction) -> Content | Abort:
        """Give the content."""
        del connection, transaction
        return Content(self._content, dot_free=False)

    def ended(self, connection: Connection, transaction: Transaction, ending: Ending) -> None:
        """Note what came of it."""
        del connection, transaction
        match ending:
            case Accepted():
                self._settle("")
            case Rejected(reply=reply):
                self._settle(str(reply))
            case Lost(reason=reason) | Aborted(reason=reason):
                self._settle(reason)
            case _:
                assert_never(ending)

    def closed(self, connection: Connection, closed: Closed) -> None:
        """Note how the session ended, if nothing was noted before."""
        self.again = self._way.closed(connection, closed)
        self._settle("" if closed.by == "quit" else f"{closed.phase}: {closed.reason}")

    def _settle(self, why_not: str) -> None:
        if not self.done.done():
            self.done.set_result(why_not)


async def way_to(
    config: Config, data_dir: Path, domain: str, pool: str = "default", tap_of: TapOf | None = None
) -> Way:
    """Find the way to a domain, as an instance would.

    Raises:
        RefusedError: the mode is `twin`.
        TransportError: there is nowhere to go.
    """
    if config.delivery.mode == "twin":
        raise RefusedError("in mode 'twin' nothing leaves this machine", mend="see docs/routes.md")
    known = asyncio.Event()
    settings = WorkerSettings(0, 1, str(data_dir), config)
    ways = build_ways(settings, lambda _: _ONE, classify, known.set, tap_of)
    route = f"{pool}/{domain}"
    while ways.gate.available(route, 0) == 0:
        known.clear()
        await known.wait()
    target: Target | AttemptOutcome = ways.target_of(ways.queue_of(route))
    if isinstance(target, AttemptOutcome):
        raise TransportError("resolve", f"{target.enhanced} {target.text}", domain)
    assert target.way is not None, "outside mode `twin` every target has a way"
    return target.way


async def knock(way: Way, tries: int = 3) -> str:
    """Open a session, let it become ready, and end it. Returns: empty, or why it didn't become ready."""
    return await bring(way, None, b"", tries)


async def bring(way: Way, transaction: Transaction | None, content: bytes, tries: int = 5) -> str:
    """Bring one mail, over other hosts where one fails before it was given. Returns: empty, or why not."""
    why_not = "no host to try"
    for _ in range(tries):
        owner = OneMail(way, transaction, content)
        try:
            await way.connect(owner)
        except TransportError as error:
            return str(error) if why_not == "no host to try" else why_not
        why_not = await owner.done
        if not owner.again:
            break
    return why_not
