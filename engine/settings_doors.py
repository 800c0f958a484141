"""Sections of the configuration about the doors for other programs: HTTP and submission."""

from __future__ import annotations

__all__ = (
    "Http",
    "Submission",
)

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.settings_types import File as _File
from engine.settings_types import KeyHash as _KeyHash
from engine.settings_types import Name as _Name


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `settings_types.Section`; of its own here, where the linter sees that defaults are copied."""


class Http(_Section, frozen=True, kw_only=True):
    """The door for other programs. Without API keys it may be bound to loopback only."""

    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0: any free one")] = 8025
    tls_cert_file: Annotated[
        _File, Meta(description="PEM, the whole chain; with `tls_key_file` turns HTTPS on")
    ] = ""
    tls_key_file: Annotated[_File, Meta(description="PEM, not encrypted")] = ""
    require_key: Annotated[
        Literal["auto", "always"],
        Meta(
            description="`auto`: not on loopback; `always`: use it behind a proxy on the same machine"
        ),
    ] = "auto"
    operator_key_hashes: Annotated[
        tuple[_KeyHash, ...],
        Meta(
            description="hashes of keys that may read status, audit log and metrics of all tenants"
        ),
    ] = ()
    body_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="a larger request is answered with 413")
    ] = 8 << 20
    batch_max: Annotated[
        int, Meta(ge=1, le=100_000, description="items in one request; more is answered with 413")
    ] = 1000
    in_flight_bytes_max: Annotated[
        int,
        Meta(
            ge=1024, le=1 << 36, description="bodies held at one time; beyond it requests get 503"
        ),
    ] = 64 << 20
    connections_max: Annotated[
        int, Meta(ge=1, le=1_000_000, description="requests over more connections get 503")
    ] = 5000
    requests_in_flight_max: Annotated[
        int, Meta(ge=1, le=100_000, description="requests at one time; beyond it they get 503")
    ] = 1000
    body_timeout_s: Annotated[
        int, Meta(ge=1, le=3600, description="time to send the body of a request")
    ] = 30
    answer_timeout_s: Annotated[
        int,
        Meta(ge=1, le=3600, description="time for the engine to answer; then the request gets 503"),
    ] = 30
    keep_alive_s: Annotated[
        int, Meta(ge=1, le=3600, description="an idle connection is closed after this")
    ] = 65
    drain_timeout_s: Annotated[
        int, Meta(ge=1, le=600, description="time for requests under way when the instance ends")
    ] = 10
    outcomes_wait_ms_max: Annotated[
        int,
        Meta(ge=0, le=300_000, description="longest wait of `GET /v1/outcomes` for something new"),
    ] = 30_000


class Submission(_Section, frozen=True, kw_only=True):
    """The SMTP door for applications (RFC 6409). With neither port there is none; see docs/submission.md."""

    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="STARTTLS where there is a certificate; 0: none")
    ] = 0
    tls_port: Annotated[
        int, Meta(ge=0, le=65535, description="TLS from the first octet (RFC 8314); 0: none")
    ] = 0
    tls_cert_file: Annotated[
        _File, Meta(description="PEM, the whole chain; AUTH is offered over TLS alone")
    ] = ""
    tls_key_file: Annotated[_File, Meta(description="PEM, not encrypted")] = ""
    require_auth: Annotated[
        Literal["auto", "always"], Meta(description="`auto`: not from this machine on loopback")
    ] = "auto"
    size_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="a larger message is refused (RFC 1870)")
    ] = 25 << 20
    recipients_max: Annotated[
        int, Meta(ge=100, le=10_000, description="of one transaction; RFC 5321 wants 100 or more")
    ] = 1000
    connections_max: Annotated[int, Meta(ge=1, le=100_000, description="at one time")] = 1000
    connections_per_address_max: Annotated[
        int, Meta(ge=1, le=100_000, description="at one time, from one address")
    ] = 200
    held_bytes_max: Annotated[
        int,
        Meta(ge=1 << 20, le=1 << 36, description="content held at one time; beyond it: 452"),
    ] = 256 << 20
    idle_s: Annotated[int, Meta(ge=1, le=3600, description="a silent client is sent away")] = 300
    session_s_max: Annotated[
        int, Meta(ge=1, le=86_400, description="the longest session, however busy")
    ] = 3600
    dsn: Annotated[
        bool,
        Meta(
            description="offer DSN (RFC 3461) and pass it on; none is written here: outcomes are told by webhook"
        ),
    ] = False
    stream: Annotated[_Name, Meta(description="of mail that names none")] = "transactional"
    pool: Annotated[str, Meta(max_length=63, description="of mail that names none")] = ""
    reverse_path: Annotated[
        Literal["signed", "caller"],
        Meta(
            description="`signed`: ours, so that bounces are understood; `caller`: as the client gave it"
        ),
    ] = "signed"
    repeat_s: Annotated[
        int,
        Meta(
            ge=1,
            le=604_800,
            description="how long an equal message without Message-ID is taken for a repetition",
        ),
    ] = 600
