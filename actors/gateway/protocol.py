"""uvicorn's HTTP protocol with two bounds that it lacks: size of the head of a request, and time to send it."""

from __future__ import annotations

__all__ = ("HEAD_BYTES_MAX", "HEAD_TIMEOUT_S", "BoundedProtocol")

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 65_536
"""A longer request line with headers ends the connection."""

HEAD_TIMEOUT_S = 20.0
"""Time from the connection, or the first byte of a request, to the end of its headers; then it ends, too."""

_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Bytes that begin no complete head are counted and timed."""

    _head_bytes = 0
    _in_head = True
    _heads = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then see whether all of it went into a head that is still incomplete."""
        was_in_head, heads = self._in_head, self._heads
        super().data_received(data)
        if not self._in_head:
            self._head_arrived()
            return
        if was_in_head and heads == self._heads:
            self._head_bytes += len(data)
        self._watch_head()
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it is complete."""
        self._in_head = False
        self._heads += 1
        super().on_headers_complete()

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._late)

    def _head_arrived(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        self.transport.close()
