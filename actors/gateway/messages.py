"""`POST /v1/messages`: one item or many, from bytes to what became of each."""

from __future__ import annotations

__all__ = ("MessageAccepted", "MessageOutcome", "MessageResults", "Messages")

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from actors.backend import Backend, SendRequest, SendResult
from actors.gateway.bodies import decode_items
from actors.gateway.message_wire import (
    MessageIn,
    check_message,
    key_of,
    send_request,
    template_of,
)
from actors.gateway.wire import Fault, FaultsError
from actors.submission.content import AttachmentBrought, Brought, Injector, brought_raw
from deliverability.compose.raw import RawMessage
from engine.config import Config
from engine.errors import InputError

_FAULTS_MAX = 20


class MessageAccepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The messages that stand for an idempotency key; `message_id` is the first."""

    message_id: str
    status: Literal["accepted", "repeated"]
    message_ids: list[str] = []  # of all recipients, in order, where there are several


class MessageOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one item of a list: accepted, repeated, conflict (its key stands for another), or refused."""

    status: Literal["accepted", "repeated", "conflict", "refused"]
    message_ids: list[str] = []
    reason: str = ""


class MessageResults(msgspec.Struct, frozen=True):
    """One result for each item, in the order of the request."""

    results: list[MessageOutcome]


Send = Callable[[list[SendRequest]], Awaitable[list[SendResult]]]


class Messages:
    """Takes messages.

    Args:
        backend: who accepts them.
        injector: makes content durable; None where none is taken.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        injector: Injector | None,
        clock_ms: Callable[[], int],
    ) -> None:
        self._config = config
        self._backend = backend
        self._injector = injector
        self._clock_ms = clock_ms
        self._decoder = msgspec.json.Decoder(MessageIn)

    async def take(
        self, tenant: str, body: bytes, content_type: str, header_key: str | None
    ) -> tuple[list[SendResult], bool]:
        """Take one item or many. Returns what became of each, and whether they came as a list.

        Raises: FaultsError: something has a mistake; nothing was taken.
        """
        found = decode_items(body, content_type, self._decoder, self._config.http.batch_max)
        now = self._clock_ms()
        keys, faults = [], []
        for number, item in enumerate(found.items):
            try:
                check_message(item, self._config, now)
                keys.append(key_of(item, header_key, number if found.listed else None))
            except FaultsError as error:
                faults += _within(error.faults, number, listed=found.listed)
        _raise(faults)
        contents = await self._contents(tenant, found.items, listed=found.listed)
        requests = [
            send_request(item, content, tenant, key, now, self._config)
            for item, content, key in zip(found.items, contents, keys, strict=True)
        ]
        if not requests:
            return [], found.listed
        return await self._backend.send(requests), found.listed

    async def _contents(
        self, tenant: str, items: list[MessageIn], *, listed: bool
    ) -> list[Brought]:
        """Make what items bring durable; all raw messages with one sync."""
        contents: list[Brought] = []
        raws: dict[int, RawMessage] = {}
        faults: list[Fault] = []
        for number, item in enumerate(items):
            try:
                if item.raw is not None:
                    raws[number] = self._need().read_raw(tenant, item.raw)
                    self._need().check_reverse_path(tenant, _kept_path(item))
                    contents.append(Brought(""))
                else:
                    contents.append(await self._content(tenant, item))
            except InputError as error:
                faults += _within([_fault(error, item)], number, listed=listed)
        _raise(faults)
        if raws:
            references = await self._need().keep_raw(list(raws.values()))
            for (number, message), reference in zip(raws.items(), references, strict=True):
                contents[number] = brought_raw(reference, message, _kept_path(items[number]))
        return contents

    async def _content(self, tenant: str, item: MessageIn) -> Brought:
        attachments = [
            AttachmentBrought(one.name, one.type, one.content, one.content_id)
            for one in item.attachments
        ]
        if item.inline is not None:
            return await self._need().template(tenant, template_of(item.inline), attachments)
        assert item.template is not None, "checked"
        if attachments:
            return await self._need().attached(tenant, item.template, None, attachments)
        return Brought(item.template)

    def _need(self) -> Injector:
        if self._injector is None:
            raise InputError("this instance takes published templates only")
        return self._injector


def _fault(error: InputError, item: MessageIn) -> Fault:
    """Say where in the item a mistake lies that its content has."""
    place = error.place
    path, where = place.path, ""
    if place.line:
        where = f"line {place.line}" + (f", column {place.column}" if place.column else "") + ": "
    if item.raw is None and item.inline is not None and not path.startswith("attachments"):
        part = path or place.file
        path = f"inline.{part.removeprefix('inline').lstrip('.')}".rstrip(".")
    mend = f" ({error.mend})" if error.mend else ""
    return Fault(
        path or ("raw" if item.raw is not None else "template"), f"{where}{error.message}{mend}"
    )


def _kept_path(item: MessageIn) -> str | None:
    """Give the reverse-path that a raw message wants kept; None: ours, signed."""
    return item.reverse_path.removeprefix("<>") if item.reverse_path else None


def _within(faults: list[Fault], number: int, *, listed: bool) -> list[Fault]:
    if not listed:
        return faults
    return [Fault(f"items[{number}].{fault.path}", fault.detail) for fault in faults]


def _raise(faults: list[Fault]) -> None:
    if faults:
        raise FaultsError(faults[:_FAULTS_MAX], more=len(faults) > _FAULTS_MAX)
