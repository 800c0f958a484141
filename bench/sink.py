"""A lean SMTP server in a process of its own: it takes everything, counts, and keeps one mail in so many.

`python -m bench.sink SETTINGS` (`SinkSettings` as JSON) listens on a free port of loopback, which it prints, and ends
when its standard input does. It believes what it is told, since its client is ours: it is there to cost little, and
its CPU time is shown. How many mails it took stands in FOLDER/count (8 octets, little-endian, mapped); kept mails are
FOLDER/N.eml; when content for a stamped recipient began to arrive stands in FOLDER/stamps, a line each.
"""

from __future__ import annotations

__all__ = ("SinkProcess", "SinkSettings")

import asyncio
import mmap
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import msgspec
import uvloop

from actors.twin.certificate import server_context

_BUFFER_OCTETS = 1 << 20
_COUNT = struct.Struct("<Q")
_OK = b"250 2.0.0 OK\r\n"


class SinkSettings(msgspec.Struct, frozen=True):
    """What a sink offers and notes."""

    folder: str
    keep: int = 500  # one mail in so many
    chunking: bool = True
    delay_ms: int = 0  # each reply comes so late: the round trip of a far server
    stamp: str = ""  # recipients whose local part begins so are stamped
    tls: bool = False  # STARTTLS is offered, with a certificate that nobody vouches for


class SinkProcess:
    """A sink, started and ended by this process. Use it as a context."""

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 500,
        chunking: bool = True,
        delay_ms: int = 0,
        stamp: str = "",
        tls: bool = False,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._stamps_read = 0
        root = Path(__file__).resolve().parent.parent
        settings = SinkSettings(str(folder), keep, chunking, delay_ms, stamp, tls)
        command = [sys.executable, "-m", __spec__.name, msgspec.json.encode(settings).decode()]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )
        assert self._process.stdout is not None, "it is a pipe"
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid
        with (folder / "count").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _COUNT.size, access=mmap.ACCESS_READ)

    def count(self) -> int:
        """Tell how many mails it has taken."""
        number: int = _COUNT.unpack_from(self._map)[0]
        return number

    def stamps(self) -> dict[str, float]:
        """Tell when content for stamped recipients began to arrive since the last call: s on the monotonic clock."""
        with (self.folder / "stamps").open(encoding="ascii") as file:
            file.seek(self._stamps_read)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._stamps_read += len(whole)
        lines = whole.splitlines()
        return {name: float(at) for name, _, at in (line.partition(" ") for line in lines)}

    def kept(self) -> list[bytes]:
        """Take the mails that were kept since the last call."""
        files = sorted(self.folder.glob("*.eml"))
        mails = [file.read_bytes() for file in files]
        for file in files:
            file.unlink()
        return mails

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._map.close()
        self._process.communicate()


class _Tally:
    """Counts for all connections, and keeps samples."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep
        self.number = 0
        self._stamps = (folder / "stamps").open("w", buffering=1, encoding="ascii")
        path = folder / "count"
        path.write_bytes(bytes(_COUNT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _COUNT.size)

    def wanted(self) -> bool:
        """Tell whether the next mail is one to keep."""
        return self.number % self._keep == 0

    def took(self, content: bytearray | None) -> None:
        """Count a mail; `content` when it is kept."""
        if content is not None:
            path = self._folder / f"{self.number}.part"
            path.write_bytes(content)
            path.rename(path.with_suffix(".eml"))
        self.number += 1

    def stamp(self, recipient: bytes) -> None:
        """Note that content for a recipient arrives."""
        name = recipient.partition(b"@")[0].decode("ascii")
        self._stamps.write(f"{name} {time.monotonic():.6f}\n")

    def publish(self) -> None:
        """Show the number to whoever looks."""
        _COUNT.pack_into(self._map, 0, self.number)


class _Connection(asyncio.BufferedProtocol):
    """One client. What arrives is read where it lies; contents are stepped over unless they are kept."""

    def __init__(
        self, tally: _Tally, settings: SinkSettings, context: ssl.SSLContext | None
    ) -> None:
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._delay_s = settings.delay_ms / 1000
        self._stamp = b"<" + settings.stamp.encode() if settings.stamp else b""
        self._recipient = b""
        self._context = context
        self._tls: asyncio.Task[None] | None = None
        offers = b"250-PIPELINING\r\n" + (b"250-CHUNKING\r\n" if settings.chunking else b"")
        self._clear = b"250-STARTTLS\r\n" if context else b""
        self._offers = offers
        self._buffer = bytearray(_BUFFER_OCTETS)
        self._view = memoryview(self._buffer)
        self._at = 0
        self._end = 0
        self._left = 0  # octets of a chunk still to come
        self._in_data = False
        self._content: bytearray | None = None
        self._replies: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._write(b"220 sink.example ESMTP\r\n")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room; what isn't understood yet moves to the front."""
        rest = self._end - self._at
        if self._at and (not rest or self._end > _BUFFER_OCTETS // 2):
            self._buffer[:rest] = self._buffer[self._at : self._end]
            self._at, self._end = 0, rest
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Understand what arrived, and answer it in one write."""
        self._end += nbytes
        while self._at < self._end and self._step():
            pass
        if self._replies:
            self._tally.publish()  # before the client hears of it
            self._write(b"".join(self._replies))
            self._replies.clear()

    def _write(self, data: bytes) -> None:
        if self._delay_s:
            self._loop.call_later(self._delay_s, self._transport.write, data)
        else:
            self._transport.write(data)

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        """RFC 3207: what follows the 220 is the handshake; then the session begins anew."""
        encrypted = await self._loop.start_tls(self._transport, self, context, server_side=True)
        assert encrypted is not None, "the client hasn't gone"
        self._transport = encrypted
        self._clear = b""

    def _step(self) -> bool:
        """Take one command or one stretch of content; False when more must arrive first."""
        if self._left:
            return self._chunk()
        if self._in_data:
            return self._data()
        end = self._buffer.find(b"\r\n", self._at, self._end)
        if end < 0:
            return False
        line = bytes(self._view[self._at : end])
        self._at = end + 2
        self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if self._stamp and verb in (b"BDAT", b"DATA") and self._recipient:
            self._tally.stamp(self._recipient)
            self._recipient = b""
        if verb == b"BDAT":
            self._left = int(line.split()[1])
            self._begin()
        elif verb == b"DATA":
            self._in_data = True
            self._begin()
            self._replies.append(b"354 go ahead\r\n")
        elif verb == b"EHLO":
            self._replies.append(
                b"250-sink.example\r\n" + self._clear + self._offers + b"250 8BITMIME\r\n"
            )
        elif verb == b"STAR" and self._context is not None:
            self._transport.write(b"220 2.0.0 go ahead\r\n")
            self._tls = self._loop.create_task(self._encrypt(self._context))
        elif verb == b"QUIT":
            self._tally.publish()
            self._transport.write(b"".join((*self._replies, b"221 2.0.0 bye\r\n")))
            self._replies.clear()
            self._transport.close()
        else:
            if self._stamp and verb == b"RCPT" and self._stamp in line:
                self._recipient = line[line.index(b"<") + 1 :]
            self._replies.append(_OK)

    def _begin(self) -> None:
        self._content = bytearray() if self._tally.wanted() else None

    def _chunk(self) -> bool:
        """Step over a chunk. Every chunk of ours is the last of its mail (BDAT … LAST)."""
        taken = min(self._left, self._end - self._at)
        self._take(taken)
        self._left -= taken
        if not self._left:
            self._ended()
        return True

    def _data(self) -> bool:
        """Step over lines up to the dot. RFC 5321 §4.5.2."""
        end = self._buffer.find(b"\r\n.\r\n", self._at, self._end)
        if end < 0:
            self._take(max(self._end - self._at - 4, 0))
            return False
        self._take(end + 2 - self._at)
        self._at += 3
        self._in_data = False
        self._ended()
        return True

    def _take(self, octets: int) -> None:
        if self._content is not None:
            self._content += self._view[self._at : self._at + octets]
        self._at += octets

    def _ended(self) -> None:
        self._tally.took(self._content)
        self._content = None
        self._replies.append(_OK)


async def _serve(settings: SinkSettings) -> None:
    loop = asyncio.get_running_loop()
    tally = _Tally(Path(settings.folder), settings.keep)
    context = server_context("sink.example", time.time()) if settings.tls else None
    server = await loop.create_server(
        lambda: _Connection(tally, settings, context), "127.0.0.1", 0, backlog=1000
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve(msgspec.json.decode(sys.argv[1], type=SinkSettings)))
