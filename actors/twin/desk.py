"""The desk between accept path and record: mails come in, files are flushed, DKIM is verified."""

from __future__ import annotations

__all__ = ("Desk",)

import asyncio
from concurrent.futures import ThreadPoolExecutor

import msgspec

from actors.twin import signatures
from actors.twin.record import MailHead, Received, Recorder, header_of, message_id_of

_FLUSH_S = 0.1


class Desk:
    """Takes mails that were accepted. Belongs to one event loop; `close` waits for what is open."""

    def __init__(
        self,
        recorder: Recorder,
        look_up: signatures.KeyLookup | None,
        *,
        verify_every: int,
        verify_pending_max: int,
    ) -> None:
        self.unverified = 0
        """Mails that were to be verified, but too many were waiting."""
        self._recorder = recorder
        self._look_up = look_up
        self._verify_every = verify_every if look_up else 0
        self._verify_pending_max = verify_pending_max
        self._pool = ThreadPoolExecutor(1, "veredus-twin-verify") if self._verify_every else None
        self._pending: set[asyncio.Future[None]] = set()
        self._mails = 0
        self._flush_timer: asyncio.TimerHandle | None = None

    def put(self, head: MailHead, content: bytes) -> None:
        """Put an accepted mail on record, for each of its recipients."""
        message_id = message_id_of(header_of(content))
        lines = [
            Received(message_id, head.at, head.reverse_path, path, provider, len(content))
            for path, provider in head.recipients
        ]
        self._recorder.mail(head, content)
        if not self._verify(lines, content):
            self._write(lines)
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(_FLUSH_S, self._flush)

    async def close(self) -> None:
        """Wait for the signatures under verification, then finish the record."""
        while self._pending:
            await asyncio.wait(self._pending)
        if self._pool is not None:
            self._pool.shutdown()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        self._recorder.close()

    def _write(self, lines: list[Received]) -> None:
        for line in lines:
            self._recorder.line(line)

    def _flush(self) -> None:
        self._flush_timer = None
        self._recorder.flush()

    def _verify(self, lines: list[Received], content: bytes) -> bool:
        """Hand a mail that is due to the thread; its lines come later. False: not this one."""
        self._mails += 1
        if self._pool is None or self._look_up is None or (self._mails - 1) % self._verify_every:
            return False
        if len(self._pending) >= self._verify_pending_max:
            self.unverified += 1
            return False
        loop = asyncio.get_running_loop()
        verdict = loop.run_in_executor(self._pool, signatures.verify, content, self._look_up)
        task = loop.create_task(self._verified(verdict, lines))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return True

    async def _verified(
        self,
        result: asyncio.Future[tuple[signatures.Verdict, tuple[signatures.SignatureVerdict, ...]]],
        lines: list[Received],
    ) -> None:
        verdict, _ = await result
        self._write([msgspec.structs.replace(line, signature=verdict) for line in lines])
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(_FLUSH_S, self._flush)
