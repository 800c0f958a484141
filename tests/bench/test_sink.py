import asyncio
import os
from pathlib import Path

from bench.cpu import cpu_s, descendants
from bench.sink import SinkProcess

MAIL = b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n"
ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"


def talk(port: int, written: list[bytes]) -> bytes:
    """Write pieces in one connection, then QUIT; returns all replies."""

    async def both() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (*written, b"QUIT\r\n"):
            writer.write(piece)
            await writer.drain()
        replies = await reader.read()
        writer.close()
        return replies

    return asyncio.run(both())


def test_a_chunk_is_counted_and_kept_whole_however_it_is_cut(tmp_path: Path) -> None:
    wire = ENVELOPE + b"BDAT %d LAST\r\n" % len(MAIL) + MAIL
    with SinkProcess(tmp_path / "sink", keep=1) as sink:
        replies = talk(sink.port, [wire, wire[:50], wire[50:100], wire[100:]])
        assert sink.count() == 2
        assert sink.kept() == [MAIL, MAIL]
        assert replies.count(b"250 2.0.0 OK\r\n") == 6


def test_data_ends_with_its_dot(tmp_path: Path) -> None:
    with SinkProcess(tmp_path / "sink", keep=2, chunking=False) as sink:
        replies = talk(sink.port, [ENVELOPE + b"DATA\r\n", MAIL[:30], MAIL[30:] + b".\r\n"] * 2)
        assert sink.count() == 2
        assert sink.kept() == [MAIL]
        assert b"CHUNKING" not in replies


def test_the_sink_is_a_child_whose_cpu_time_can_be_read(tmp_path: Path) -> None:
    with SinkProcess(tmp_path / "sink") as sink:
        assert sink.pid in descendants(os.getpid())
        assert cpu_s([sink.pid]) > 0
    assert cpu_s([sink.pid]) == 0, "one that has ended counts nothing"
