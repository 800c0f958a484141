"""Rendering of messages whose content came with them: templates of their own, attachments, whole MIME messages.

Whatever a blob holds was checked when it was taken (`actors.submission.content`), so a mistake here is a bounce of that
one message, never more.
"""

from __future__ import annotations

__all__ = ("BLOBS_FOLDER", "Blobs", "InjectedRenderer")

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from deliverability.compose.attaching import Assembled, assemble, encode_content
from deliverability.compose.composer import Skeleton
from deliverability.compose.template import Letter
from deliverability.dkim.foreign import sign_foreign
from deliverability.dkim.keys import SigningKey
from deliverability.injected import MAIL, RAW
from deliverability.transport.target import Rendered
from engine.errors import DamageError, InputError, StoreError
from engine.store.blob_files import BlobFiles
from engine.store.blob_segments import BlobSegments
from engine.vocabulary import Message

_T = TypeVar("_T")

BLOBS_FOLDER = "blobs"
"""In the data directory."""
_ASSEMBLED = msgspec.json.Decoder(Assembled)
_SKELETONS_MAX = 256
_RAW_MAX = 32  # of many recipients of one message, most are sent soon after each other
_ENCODED_BYTES_MAX = 64 << 20


class Blobs:
    """The blobs of a data directory: objects that are used again, and segments of whole messages."""

    def __init__(self, data_dir: Path, now_ms: int = 0) -> None:
        self.objects = BlobFiles(data_dir / BLOBS_FOLDER)
        self.segments = BlobSegments(data_dir / BLOBS_FOLDER / "segments", now_ms)


class _Recent(Generic[_T]):
    """The newest few of what is costly to make, up to a weight."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._weight = 0
        self._held: dict[str, tuple[_T, int]] = {}

    def get(self, name: str, make: Callable[[], tuple[_T, int]]) -> _T:
        found = self._held.get(name)
        if found is None:
            found = self._held[name] = make()
            self._weight += found[1]
            while self._weight > self._weight_max and len(self._held) > 1:
                self._weight -= self._held.pop(next(iter(self._held)))[1]
        return found[0]


class InjectedRenderer:
    """Renders what a reference names.

    Args:
        blobs: where content lies.
        compile_object: compiles a template: (tenant, name, JSON) to a skeleton.
        published: gives a published template: (tenant, name).
    """

    def __init__(
        self,
        blobs: Blobs,
        compile_object: Callable[[str, str, bytes], Skeleton],
        published: Callable[[str, str], Skeleton],
    ) -> None:
        self._blobs = blobs
        self._compile = compile_object
        self._published = published
        self._skeletons: _Recent[Skeleton] = _Recent(_SKELETONS_MAX)
        self._assembled: _Recent[Assembled] = _Recent(_SKELETONS_MAX)
        self._encoded: _Recent[bytes] = _Recent(_ENCODED_BYTES_MAX)
        self._raw: _Recent[bytes] = _Recent(_RAW_MAX)

    def skeleton(self, tenant: str, name: str) -> Skeleton:
        """Compile a template that came with its message (`blob:`), or give the one of before."""
        digest = name.partition(":")[2]
        try:
            return self._skeletons.get(
                f"{tenant}\0{digest}",
                lambda: (self._compile(tenant, name, self._blobs.objects.get(digest)), 1),
            )
        except StoreError as error:
            if _is_gone(error):
                raise InputError(f"its template can't be read: {error}") from error
            raise

    def render(self, message: Message, letter: Letter, keys: Sequence[SigningKey]) -> Rendered:
        """Render and sign a message of kind `raw:` or `mail:`. The same message gives the same bytes.

        Raises:
            InputError: it can't be composed, or its content is gone.
            StoreError: its content can't be read now, such as for want of file descriptors.
        """
        try:
            return self._render(message, letter, keys)
        except StoreError as error:
            if _is_gone(error):
                raise InputError(f"its content can't be read: {error}") from error
            raise

    def _render(self, message: Message, letter: Letter, keys: Sequence[SigningKey]) -> Rendered:
        kind, _, reference = message.template.partition(":")
        if kind + ":" == RAW:
            return self._sign_raw(reference, keys, message.date)
        if kind + ":" != MAIL:
            raise InputError(f"there is no template {message.template!r}")
        mail = self._assembled.get(reference, lambda: (self._read_assembled(reference), 1))
        composed = self._skeleton_of(message, mail, reference).compose(letter)
        encoded = [self._attachment(one.digest) for one in mail.attachments]
        headers, body = assemble(composed, mail.attachments, encoded)
        signatures = sign_foreign(headers, body, keys, message.date)
        return Rendered(b"".join((signatures, headers, b"\r\n", body)), composed.dot_free)

    def _read_assembled(self, digest: str) -> Assembled:
        return _ASSEMBLED.decode(self._blobs.objects.get(digest))

    def _skeleton_of(self, message: Message, mail: Assembled, digest: str) -> Skeleton:
        template = mail.template
        if template is None:
            return self._published(message.tenant, mail.named)
        return self._skeletons.get(
            f"{message.tenant}\0{digest}",
            lambda: (
                self._compile(message.tenant, template.name, msgspec.json.encode(template)),
                1,
            ),
        )

    def _attachment(self, digest: str) -> bytes:
        def make() -> tuple[bytes, int]:
            encoded = encode_content(self._blobs.objects.get(digest))
            return encoded, len(encoded)

        return self._encoded.get(digest, make)

    def _sign_raw(self, reference: str, keys: Sequence[SigningKey], now: int) -> Rendered:
        content = self._raw.get(reference, lambda: (self._blobs.segments.get(reference), 1))
        headers, _, body = content.partition(b"\r\n\r\n")
        signatures = sign_foreign(headers + b"\r\n", body, keys, now)
        dot_free = not (b"\n." in content or content.startswith(b"."))
        return Rendered(signatures + content, dot_free)


def _is_gone(error: StoreError) -> bool:
    """Tell content that won't come back from what can't be read now: only the first ends a message."""
    return isinstance(error, DamageError) or isinstance(error.__cause__, FileNotFoundError)
