"""Speaks HTTP to the running instance over the local socket of its data directory. Light on imports."""

from __future__ import annotations

__all__ = ("Client", "find_data_dir", "quoted")

import http.client
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from actors.local_socket import SOCKET_NAME, connect
from engine.errors import CapacityError, InputError, Place, RefusedError, TransportError

_T = TypeVar("_T")

_DEFAULT_DIR = ".veredus"
_CONFIG_FILE = "veredus.toml"
_TIMEOUT_S = 60.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the file instead of a host."""
        self.sock: socket.socket = connect(self._path, self.timeout)


class _Fault(msgspec.Struct):
    path: str
    detail: str


class _Problem(msgspec.Struct):
    """What the client reads of a problem. RFC 9457."""

    title: str = "failed"
    detail: str = ""
    errors: list[_Fault] = []
    retry_after_s: int = 0

    def line(self) -> str:
        """Tell it in one line."""
        faults = "; ".join(f"{fault.path}: {fault.detail}" for fault in self.errors)
        return ": ".join(filter(None, ((self.detail or self.title).rstrip("."), faults)))


def find_data_dir(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Find the data directory: as given, as the environment says, as ./veredus.toml says, else ./.veredus."""
    if given is not None:
        return given
    if environ.get("VEREDUS_DATA_DIR"):
        return Path(environ["VEREDUS_DATA_DIR"])
    try:
        written = tomllib.loads(Path(_CONFIG_FILE).read_text(encoding="utf-8")).get("data_dir")
    except (OSError, ValueError, RecursionError):
        written = None  # `veredus up` is who complains about the file
    return Path(written) if isinstance(written, str) and written else Path(_DEFAULT_DIR)


class Client:
    """One connection to an instance, opened when first needed and again after it broke.

    Every method raises:
        RefusedError: no instance answers there, or it says no.
        InputError: it doesn't take what was asked.
        CapacityError: it is overloaded; the call may be made again.
        TransportError: the connection broke; the call may or may not have been taken.
    """

    def __init__(self, data_dir: Path, tenant: str = "", timeout_s: float = _TIMEOUT_S) -> None:
        self._data_dir = data_dir
        self._connection = _UnixConnection(data_dir / SOCKET_NAME, timeout_s)
        self._headers = {"Veredus-Tenant": tenant} if tenant else {}

    def get(self, path: str, to: type[_T], **query: str | int) -> _T:
        """Ask; `path` has its ids quoted (`quoted`)."""
        asked = f"{path}?{urlencode(query)}" if query else path
        return msgspec.json.decode(self._call("GET", asked), type=to)

    def give(
        self,
        method: str,
        path: str,
        body: bytes,
        to: type[_T],
        content_type: str = "application/json",
        **headers: str,
    ) -> _T:
        """Give something; header names are written with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Content-Type"] = content_type
        return msgspec.json.decode(self._call(method, path, body, named), type=to)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> bytes:
        self._open()
        try:
            self._connection.request(method, path, body, {**self._headers, **headers})
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            reason = str(error) or type(error).__name__
            raise TransportError("data", f"the instance broke off: {reason}") from None
        if response.status >= http.client.BAD_REQUEST:
            raise _refusal(response.status, answer)
        return answer

    def _open(self) -> None:
        opened: socket.socket | None = self._connection.sock
        if opened is not None:
            return
        try:
            self._connection.connect()
        except PermissionError:
            message = "the instance belongs to another user"
            raise RefusedError(message, Place(file=str(self._data_dir))) from None
        except OSError:
            raise RefusedError(
                f"no instance runs on {self._data_dir}",
                mend="start one with `veredus up`, or name its data directory with --data",
            ) from None


def quoted(name: str) -> str:
    """Quote an id for a path."""
    return quote(name, safe="")


def _refusal(status: int, answer: bytes) -> Exception:
    try:
        problem = msgspec.json.decode(answer, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(title=f"the instance answered {status}")
    match status:
        case http.client.SERVICE_UNAVAILABLE | http.client.TOO_MANY_REQUESTS:
            return CapacityError(problem.line(), float(problem.retry_after_s or 1))
        case http.client.CONFLICT | http.client.FORBIDDEN | http.client.UNAUTHORIZED:
            return RefusedError(problem.line())
        case _:
            return InputError(problem.line())
