"""Other people's mail through raw injection: octet for octet what it was, but for what must change.

The corpus lies in ../shared and isn't ours to ship; nothing of it leaves this process.
"""

from __future__ import annotations

import asyncio
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.submission.content import brought_raw
from actors.submission.gathering import Transaction, digest_of_transaction, request_of
from deliverability.compose.raw import RawMessage
from engine.config import Config
from engine.errors import InputError
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Embedded, embedded, wall_ms

ARCHIVE = "corpora/mime-messages/messages.tar.gz"
PRIVATE = re.compile(rb"(?im)^(?:bcc|resent-bcc|return-path)[ \t]*:.*(?:\r\n[ \t].*)*\r\n")

pytestmark = pytest.mark.shared


def mails(shared: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(shared / ARCHIVE) as opened:
        for member in opened:
            handle = opened.extractfile(member) if member.isfile() else None
            if handle is not None and not member.name.endswith(".json"):
                yield member.name, handle.read()


def expected(raw: bytes) -> bytes:
    """Say what must arrive of a mail, computed another way than the product does: CRLF, and no private fields."""
    lines = re.sub(rb"\r*\n", b"\n", raw)
    head, gap, body = lines.partition(b"\n\n")
    if lines.startswith(b"\n"):
        head, gap, body = b"", b"\n", lines[1:]
    head = head.replace(b"\r", b" ")
    if gap:
        body = body.replace(b"\r", b"\n")
    head_lines = head.rstrip(b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    body_lines = body.replace(b"\n", b"\r\n")
    if body_lines and not body_lines.endswith(b"\r\n"):
        body_lines += b"\r\n"
    return PRIVATE.sub(b"", head_lines) + b"\r\n" + body_lines


async def submit(here: Embedded, name: str, raw: bytes) -> RawMessage | None:
    """Inject a mail as the listener does; None: it was refused, with a reason."""
    try:
        message = here.injector.read_raw("default", raw)
    except InputError:
        return None
    (reference,) = await here.injector.keep_raw([message])
    recipients = ("sink@inbox.example",)
    digest = digest_of_transaction("default", name, recipients, raw)
    one = Transaction("default", "", recipients, message, digest, "transactional", campaign="c")
    request = request_of(one, brought_raw(reference, message, None), wall_ms(), here.config)
    (result,) = await here.backend.send([request])
    assert result.status == "accepted"
    return message


def open_to_all(folder: Path) -> Config:
    """A tenant that may write as anybody, to a twin: the mails are of many senders."""
    import msgspec

    config = config_of(folder)
    tenant = msgspec.structs.replace(config.tenant[0], from_domains=())
    return msgspec.structs.replace(config, tenant=(tenant,))


def test_mail_goes_through_unharmed(shared: Path, tmp_path: Path) -> None:
    """What is taken arrives once, its octets in place; what isn't is refused with a reason, and is the smaller part."""

    async def run() -> None:
        async with embedded(open_to_all(tmp_path)) as here:
            wanted: dict[bytes, str] = {}
            taken = refused = 0
            for name, raw in mails(shared):
                message = await submit(here, name, raw)
                if message is None:
                    refused += 1
                    continue
                taken += 1
                added = message.headers.split(b"\r\n")[: len(message.added)]
                whole = b"".join(line + b"\r\n" for line in added) + expected(raw)
                wanted[whole] = name
            await here.until(lambda: len(here.mails) >= taken)
            arrived = [one.content for one in here.mails]
            assert len(arrived) == taken
            for content in arrived:
                assert content in wanted, content[:300]
            assert await here.law() == {"accepted": taken, "delivered": taken}
            assert taken > 6 * refused

    asyncio.run(run())
