"""Mail transactions on their way to the engine: gathered, made durable together, accepted together.

While one lot is being written and decided the next one gathers, so that many connections share a sync of the blobs and
a call to each worker. A transaction is answered once the entity that holds it whole is durable (`engine.once`); it is
known again by its content, so that a client that never heard its 250 may send it once more.
"""

from __future__ import annotations

__all__ = ("Gatherer", "Transaction", "request_of")

import asyncio
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from actors.backend import Addressee, Backend, SendRequest, SendResult
from actors.submission.content import Brought, Injector, brought_raw, contact_of
from deliverability.compose.raw import RawMessage
from deliverability.injected import envelope_variables
from deliverability.smtp.envelope import DsnOptions
from engine.config import Config
from engine.errors import VeredusError
from engine.ids import derive
from engine.keyspace import contact_key
from engine.vocabulary import SendDirect

LOT_MAX = 256  # transactions in one call to the engine
LOT_BYTES_MAX = 16 << 20
LOTS_UNDER_WAY_MAX = 2  # one being written while one is decided: more would only be smaller


class Transaction(msgspec.Struct, frozen=True):
    """One mail transaction that a client has sent whole. `recipients` are different from each other."""

    tenant: str
    reverse_path: str
    recipients: tuple[str, ...]
    message: RawMessage
    digest: bytes  # of all that the client sent
    stream: str
    campaign: str = ""
    pool: str = ""
    keeps_reverse_path: bool = False
    require_tls: bool = False
    dsn: tuple[DsnOptions, ...] = ()  # of each recipient, or none

    @property
    def size(self) -> int:
        """Octets that it holds."""
        return len(self.message.headers) + len(self.message.body)

    @property
    def named(self) -> bool:
        """Whether the client gave it a Message-ID, which no other message has."""
        return "Message-ID" not in self.message.added


def digest_of_transaction(
    tenant: str,
    reverse_path: str,
    recipients: tuple[str, ...],
    content: bytes,
    demands: str = "",
) -> bytes:
    """Hash what a client sent, with what else its envelope demands; the order of its recipients doesn't matter."""
    hashed = blake2b(digest_size=32)
    for part in (tenant, reverse_path, *sorted(recipients)):
        hashed.update(part.encode(errors="surrogateescape") + b"\0")
    hashed.update(content)
    if demands:  # without any, the digest is that of before there were some
        hashed.update(b"\0" + demands.encode())
    return hashed.digest()


def wanted(one: Transaction, number: int) -> dict[str, Any]:
    """Give what the envelope of a recipient's message carries on."""
    return envelope_variables(require_tls=one.require_tls, dsn=one.dsn[number] if one.dsn else None)


def request_of(one: Transaction, content: Brought, now: int, config: Config) -> SendRequest:
    """Make the request: a message for each recipient, under a key made of the content.

    Without a Message-ID two messages may be equal by chance, so that then only a while counts as a repetition.
    """
    key = f"\x1fsmtp\x1f{one.digest.hex()}"
    stream = config.stream(one.stream)
    assert stream is not None, "checked by the policy"
    items = []
    for number, address in enumerate(one.recipients):
        contact = contact_of(address)
        body = SendDirect(
            message_id=derive(contact_key(one.tenant, contact), b"smtp", key, str(number)),
            template=content.template,
            variables=content.variables | wanted(one, number),
            stream=one.stream,
            address=address,
            message_class=stream.message_class,
            due=now,
            pool=one.pool,
            campaign=one.campaign,
        )
        items.append(Addressee(contact, body))
    repeat_ms = 0 if one.named else config.submission.repeat_s * 1000
    return SendRequest(one.tenant, key, one.digest, tuple(items), repeat_ms, content_keyed=True)


class Gatherer:
    """Takes transactions of all connections to the engine.

    Args:
        config: streams and windows.
        injector: makes content durable.
        backend: accepts.
        clock_ms: wall time.
    """

    def __init__(
        self, config: Config, injector: Injector, backend: Backend, clock_ms: Callable[[], int]
    ) -> None:
        self._config = config
        self._injector = injector
        self._backend = backend
        self._clock_ms = clock_ms
        self._waiting: deque[tuple[Transaction, asyncio.Future[SendResult]]] = deque()
        self._unanswered: set[asyncio.Future[SendResult]] = set()
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(LOTS_UNDER_WAY_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self.octets = 0
        """Octets of content that wait for their answer."""

    def start(self) -> None:
        """Begin; in a running loop."""
        task = asyncio.get_running_loop().create_task(self._run())
        self._tasks.add(task)

    async def stop(self) -> None:
        """End at once; whoever waits is told that it isn't known what became of it."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()

    async def idle(self) -> None:
        """Wait until all that was taken is answered."""
        while futures := [future for future in self._unanswered if not future.done()]:
            await asyncio.wait(futures)
        await asyncio.sleep(0)  # whoever waits for them hears of it first

    def take(self, one: Transaction) -> asyncio.Future[SendResult]:
        """Take a transaction; the future has what became of it, or raises what the backend does."""
        future: asyncio.Future[SendResult] = asyncio.get_running_loop().create_future()
        self.octets += one.size
        self._waiting.append((one, future))
        self._unanswered.add(future)
        future.add_done_callback(self._unanswered.discard)
        self._wake.set()
        return future

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._room.acquire()
            lot = self._lot()
            if not self._waiting:
                self._wake.clear()
            if not lot:
                self._room.release()
                continue
            task = asyncio.get_running_loop().create_task(self._accept(lot))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _lot(self) -> list[tuple[Transaction, asyncio.Future[SendResult]]]:
        lot: list[tuple[Transaction, asyncio.Future[SendResult]]] = []
        octets = 0
        while self._waiting and len(lot) < LOT_MAX and octets < LOT_BYTES_MAX:
            lot.append(self._waiting.popleft())
            octets += lot[-1][0].size
        return lot

    async def _accept(self, lot: list[tuple[Transaction, asyncio.Future[SendResult]]]) -> None:
        try:
            async with asyncio.timeout(self._config.http.answer_timeout_s):
                results = await self._send([one for one, _ in lot])
        except (VeredusError, TimeoutError) as error:
            for _, future in lot:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in zip(lot, results, strict=True):
                if not future.done():
                    future.set_result(result)
        finally:
            self.octets -= sum(one.size for one, _ in lot)
            self._room.release()

    async def _send(self, lot: list[Transaction]) -> list[SendResult]:
        references = await self._injector.keep_raw([one.message for one in lot])
        now = self._clock_ms()
        requests = []
        for one, reference in zip(lot, references, strict=True):
            kept = one.reverse_path if one.keeps_reverse_path else None
            content = brought_raw(reference, one.message, kept)
            requests.append(request_of(one, content, now, self._config))
        return await self._backend.send(requests)
