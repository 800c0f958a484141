"""Errors as problem details. RFC 9457."""

from __future__ import annotations

__all__ = ("Problem", "problem", "problem_of")

from http import HTTPStatus

import msgspec

from actors.gateway.bodies import TooLargeError, UnsupportedTypeError
from actors.gateway.wire import Fault, FaultsError
from engine.errors import CapacityError, InputError, RefusedError, StoreError

MEDIA_TYPE = b"application/problem+json"

_UNDECIDED = "It isn't known whether anything was taken; send the same request again, its ids make that harmless."


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """The body of an error. `type` names its kind; `errors` names items and fields. RFC 9457 §3.1."""

    kind: str
    title: str
    status: int
    detail: str = ""
    errors: list[Fault] = []
    more_errors: bool = False
    retry_after_s: int = 0

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Give the headers that go with the status. RFC 9110 §10.2.3, §11.6.1."""
        headers = [(b"content-type", MEDIA_TYPE)]
        if self.retry_after_s:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b'Bearer realm="veredus"'))
        return headers

    def body(self) -> bytes:
        """Encode it."""
        return msgspec.json.encode(self)


def problem(status: int, kind: str, detail: str, retry_after_s: int = 0) -> Problem:
    """Make a problem; its title is the phrase of the status."""
    return Problem(
        kind=f"urn:veredus:problem:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        retry_after_s=retry_after_s,
    )


def problem_of(error: Exception) -> Problem | None:
    """Turn an expected error into its problem; None: it is a mistake of ours, to be logged and told as 500."""
    match error:
        case FaultsError():
            made = problem(400, "invalid", "Nothing of this request was taken.")
            return msgspec.structs.replace(made, errors=error.faults, more_errors=error.more)
        case UnsupportedTypeError():
            return problem(
                415,
                "media-type",
                "Expected application/json, or application/x-ndjson where listed.",
            )
        case CapacityError():
            wait = max(1, round(error.retry_after_s))
            return problem(503, "overloaded", f"Nothing was taken: {error}.", retry_after_s=wait)
        case TooLargeError():
            return problem(413, "too-large", f"Nothing was taken: {error}.")
        case StoreError() | TimeoutError():
            return problem(503, "undecided", _UNDECIDED, retry_after_s=2)
        case InputError():
            return problem(400, "invalid", str(error))
        case RefusedError():
            return problem(409, "refused", str(error))
        case _:
            return None
