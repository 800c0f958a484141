"""How commands ask DNS: a zone out of a file, or the resolvers of this machine."""

from __future__ import annotations

__all__ = ("answered",)

import asyncio
import time
from pathlib import Path
from typing import TypeVar

from deliverability.dns.asking import Asking, run
from deliverability.dns.zone import parse_zone
from engine.errors import InputError, Place

T = TypeVar("T")


def answered(asking: Asking[T], zone_file: Path | None) -> T:
    """Drive what asks to its result. Raises: InputError: the zone file can't be read, or has a mistake."""
    if zone_file is not None:
        return run(asking, parse_zone(_text(zone_file), str(zone_file)).answer)

    async def resolve() -> T:
        from deliverability.transport.dns import DnsResolver

        return await DnsResolver(lambda: time.time_ns() // 1_000_000).run(asking)

    return asyncio.run(resolve())


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Place(file=str(file))) from None
    except UnicodeDecodeError:
        raise InputError("isn't UTF-8", Place(file=str(file))) from None
