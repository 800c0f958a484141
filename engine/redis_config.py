"""The section `[store.redis]`: which Redis (or Valkey) keeps the state, how it is reached, what must be durable."""

from __future__ import annotations

__all__ = ("Redis",)

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_File = Annotated[str, Meta(extra={"file": True})]
_Address = Annotated[
    str,
    Meta(
        pattern=r"^([a-zA-Z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}$(?!\n)",
        description="host:port, or [IPv6 address]:port",
    ),
]


class Redis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server of `store.kind = "redis"`. One that isn't durable is refused, unless `durability` says otherwise."""

    topology: Annotated[
        Literal["single", "sentinel", "cluster"],
        Meta(
            description="what `addresses` lead to: a server, its Sentinels, or nodes of a Redis Cluster"
        ),
    ] = "single"
    addresses: Annotated[
        tuple[_Address, ...],
        Meta(min_length=1, description="host:port; the first that answers is asked"),
    ] = ("127.0.0.1:6379",)
    sentinel_master: Annotated[
        str, Meta(max_length=200, description="the name that Sentinels know the master by")
    ] = "veredus"
    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$(?!\n)",
            description="stands in front of every key, so that deployments can share a server",
        ),
    ] = "veredus"
    database: Annotated[
        int, Meta(ge=0, le=1023, description="number of the database; a Redis Cluster has only 0")
    ] = 0
    username: Annotated[
        str, Meta(max_length=200, description="an ACL user; empty: the default user")
    ] = ""
    password_file: Annotated[
        _File, Meta(description="its first line is the password; empty: none")
    ] = ""
    sentinel_username: Annotated[
        str, Meta(max_length=200, description="an ACL user of the Sentinels")
    ] = ""
    sentinel_password_file: Annotated[
        _File, Meta(description="its first line is their password; empty: none")
    ] = ""
    tls: Annotated[bool, Meta(description="speak TLS, and verify the server's name")] = False
    ca_file: Annotated[
        _File,
        Meta(description="PEM of who signed its certificate; empty: whom the system trusts"),
    ] = ""
    cert_file: Annotated[_File, Meta(description="PEM of our certificate, for mutual TLS")] = ""
    key_file: Annotated[_File, Meta(description="PEM of its key")] = ""
    replicas_min: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="replicas that must hold a commit before it counts (WAIT, WAITAOF where the server has it)",
        ),
    ] = 0
    timeout_ms: Annotated[
        int,
        Meta(
            ge=50,
            le=600_000,
            description="longest wait for an answer; then the commit's fate is unknown",
        ),
    ] = 5000
    durability: Annotated[
        Literal["required", "as_it_is"],
        Meta(
            description="`required`: a server that may forget what it acknowledged is refused; `as_it_is`: taken"
        ),
    ] = "required"
