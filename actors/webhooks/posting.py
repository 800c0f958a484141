"""One try: a signed POST, and what its answer says. All endpoints share a client, which never follows redirects."""

from __future__ import annotations

__all__ = ("Poster", "secret_in")

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec

from actors.webhooks.sender import Posted
from actors.webhooks.signing import Event, read_secret, signed_headers
from engine.config import Endpoint, Webhook
from engine.errors import ConfigError, Place

_REASON_MAX = 200
_ANSWER_BYTES_MAX = 65_536
_LATER = frozenset({408, 425, 429})
"""Of the replies 4xx those that are about the time, not the request. RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4."""


class Poster:
    """Posts events of any endpoint."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def post(
        self, to: Webhook | Endpoint, secret: bytes, event: Event, now_ms: int, *, asks: bool
    ) -> Posted:
        """Post once.

        Args:
            to: where.
            secret: signs it.
            event: what.
            now_ms: wall time, which is signed too.
            asks: the answer matters: its fields are read, and what is refused for good isn't tried again.
        """
        if self._client is None:
            self._client = httpx.AsyncClient(follow_redirects=False)
        headers = signed_headers(event, secret, now_ms)
        try:
            async with asyncio.timeout(to.timeout_s):
                # what nobody asked for isn't read
                async with self._client.stream(
                    "POST", to.url, content=event.body, headers=headers, timeout=None
                ) as response:
                    posted = Posted(
                        response.status_code,
                        response.reason_phrase[:_REASON_MAX],
                        _seconds(response.headers.get("retry-after", "")),
                    )
                    if not asks:
                        return posted
                    if posted.taken:
                        fields = await _fields(response)
                        return msgspec.structs.replace(posted, fields=fields)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            return Posted(0, f"{type(error).__name__}: {error}"[:_REASON_MAX])
        is_final = 300 <= posted.status < 500 and posted.status not in _LATER
        return msgspec.structs.replace(posted, end="refused") if is_final else posted


async def _fields(response: httpx.Response) -> dict[str, Any]:
    """Read the fields of an answer that is a JSON object; of any other, or one that is too long, there are none."""
    read = b""
    async for part in response.aiter_bytes():
        read += part
        if len(read) > _ANSWER_BYTES_MAX:
            return {}
    try:
        return msgspec.json.decode(read, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _seconds(text: str) -> float:
    """Read Retry-After, where it is a number of seconds. RFC 9110 §10.2.3."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0.0


def secret_in(file: str, path: str) -> bytes:
    """Read the secret of an endpoint. Raises: ConfigError: with the key of the configuration that names the file."""
    try:
        text = Path(file).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't be read: {error}", Place(file=file, path=path)) from error
    return read_secret(text, file)
