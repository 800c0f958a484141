"""Connections to Redis: one server, the master that Sentinels name, or the nodes of a Redis Cluster.

redis-py finds servers, speaks TLS and authenticates; commands are packed and replies parsed by hiredis, without the
pipeline objects of redis-py, which cost more than all the rest of a commit (measured: 9 µs a command against 2).
"""

from __future__ import annotations

__all__ = ("Link", "Reply", "ServerFacts", "address_of", "facts_of", "trouble_of")

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import hiredis
import msgspec
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from engine.errors import ConfigError, Place, StoreError
from engine.redis_config import Redis
from engine.store.redis_rows import Command

Reply = Any
"""bytes, int, None, a list of these, or a ResponseError that stands for one command alone."""

_Packable = tuple[
    str | int | float | bytes | memoryview
]  # what hiredis declares; it takes any length

_LOST = ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MASTERDOWN", "LOADING")
"""Replies after which the connection leads nowhere: who serves the key has changed, or it isn't serving."""


class ServerFacts(msgspec.Struct, frozen=True):
    """What a server says of itself. A setting that it doesn't tell is missing."""

    address: str
    run_id: str
    role: str
    version: str
    waits_for_files: bool  # it has WAITAOF
    replicas: int
    maxmemory: int
    settings: dict[str, str]


class _Node:
    """One server, with one connection."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self.address = address
        self._connection: Any = None

    def send(self, commands: Iterable[Command]) -> None:
        if self._connection is None:
            self._connection = self._client.connection_pool.get_connection()
        packed = b"".join([hiredis.pack_command(cast(_Packable, command)) for command in commands])
        self._connection.send_packed_command([packed], check_health=False)

    def read(self) -> Reply:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    def ask(self, command: Command) -> Reply:
        self.send((command,))
        return self.read()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)


class Link:
    """The servers of one deployment. Not shared between threads.

    Raises, on every call: StoreError: a server can't be reached or doesn't answer; then only `reconnect` helps.
    """

    def __init__(self, settings: Redis) -> None:
        self._settings = settings
        self._client: Any = None
        self._nodes: dict[str, _Node] = {}

    def run(self, commands: Sequence[tuple[bytes, Command]]) -> list[Reply]:
        """Send commands with the keys that say whom they go to; give their replies in order. One round trip."""
        nodes = self._by_node([key for key, _ in commands])
        sent: dict[str, list[Command]] = {}
        for node, (_, command) in zip(nodes, commands, strict=True):
            sent.setdefault(node.address, []).append(command)
        try:
            for address, some in sent.items():
                self._nodes[address].send(some)
            replies = [node.read() for node in nodes]
        except (RedisError, OSError) as error:
            raise self._lost(error) from error
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._see(reply)
        return replies

    def run_whole(
        self, commands: Sequence[tuple[bytes, Command]], after: Command | None
    ) -> tuple[list[Reply], list[Reply]]:
        """Run writing commands, and `after` behind them on each server. Returns replies, and those of `after`.

        `after` goes out when the replies are there: a replica that reads WAITAOF's question with the rows themselves
        answers before it has synced them, and then not again for a second (measured, Valkey 8.1). On one server the
        commands are one transaction: it reads all before it executes the first, so that all are synced to its file at
        once; else each 16 KB that it reads would cost a sync of their own.
        """
        clustered = self._settings.topology == "cluster"
        nodes = self._by_node([key for key, _ in commands])
        sent: dict[str, list[Command]] = {}
        for node, (_, command) in zip(nodes, commands, strict=True):
            sent.setdefault(node.address, []).append(command)
        whole = not clustered and len(commands) > 1
        try:
            for address, some in sent.items():
                wrapped = [(b"MULTI",), *some, (b"EXEC",)] if whole else some
                self._nodes[address].send(wrapped)
            replies = self._replies(nodes, whole=whole)
            afters = [self._nodes[address].ask(after) for address in sent] if after else []
        except (RedisError, OSError) as error:
            raise self._lost(error) from error
        for reply in (*replies, *afters):
            if isinstance(reply, ResponseError):
                self._see(reply)
        return replies, afters

    def each_node(self, *commands: Command) -> list[tuple[str, list[Reply]]]:
        """Run commands on every master. Returns (address, replies)."""
        told = []
        try:
            for node in self._all_nodes():
                node.send(commands)
                told.append((node.address, [node.read() for _ in commands]))
        except (RedisError, OSError) as error:
            raise self._lost(error) from error
        return told

    def address(self, key: bytes) -> str:
        """Name the server that serves a key."""
        return self._by_node([key])[0].address

    def reconnect(self) -> None:
        """Drop all connections and look anew for who serves what."""
        self.close()
        self._open()

    def close(self) -> None:
        """Drop all connections. Idempotent."""
        for node in self._nodes.values():
            node.close()
        self._nodes.clear()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @staticmethod
    def _replies(nodes: Sequence[_Node], *, whole: bool) -> list[Reply]:
        if not whole:
            return [node.read() for node in nodes]
        node, number = nodes[0], len(nodes)
        queued = [node.read() for _ in range(number + 1)]  # OK, and QUEUED for each
        done = node.read()
        if isinstance(
            done, ResponseError
        ):  # EXECABORT: nothing was executed; the first refusal says why
            refused = next((one for one in queued if isinstance(one, ResponseError)), done)
            return [refused] * number
        return cast("list[Reply]", done)

    def _by_node(self, keys: Sequence[bytes]) -> list[_Node]:
        self._open()
        if self._settings.topology != "cluster":
            return [self._nodes[""]] * len(keys)
        return [self._cluster_node(key) for key in keys]

    def _all_nodes(self) -> list[_Node]:
        self._open()
        if self._settings.topology != "cluster":
            return [self._nodes[""]]
        return [self._node(one) for one in self._client.get_primaries()]

    def _cluster_node(self, key: bytes) -> _Node:
        try:
            return self._node(self._client.get_node_from_key(key))
        except RedisError as error:
            raise self._lost(error) from error

    def _node(self, node: ClusterNode | None) -> _Node:
        if node is None:
            raise StoreError("Redis Cluster: nobody serves a slot; is the cluster whole?")
        address = f"{node.host}:{node.port}"
        known = self._nodes.get(address)
        if known is None:
            client = node.redis_connection or self._client.get_redis_connection(node)
            known = self._nodes[address] = _Node(client, address)
        return known

    def _open(self) -> None:
        if self._client is not None:
            return
        try:
            self._client = _client(self._settings)
        except (RedisError, OSError) as error:
            raise self._lost(error) from error
        if self._settings.topology != "cluster":
            self._nodes[""] = _Node(self._client, "")

    def _see(self, reply: ResponseError) -> None:
        """Raise for a reply that says that this connection leads nowhere."""
        text = str(reply)
        if type(reply) is not ResponseError or text.startswith(_LOST):
            kind = type(reply).__name__
            if kind != "NoScriptError" and not text.startswith(("OOM", "NOSCRIPT")):
                raise self._lost(reply)

    def _lost(self, error: Exception) -> StoreError:
        for node in self._nodes.values():
            node.close()
        where = ", ".join(self._settings.addresses)
        return StoreError(f"Redis {where}: {type(error).__name__}: {error}")


def _client(settings: Redis) -> Any:
    first = [_split(address) for address in settings.addresses]
    options = _options(settings)
    if settings.topology == "sentinel":
        guards = {
            "username": settings.sentinel_username or None,
            "password": _password(settings.sentinel_password_file),
            "socket_timeout": settings.timeout_ms / 1000,
            **_tls(settings),
        }
        sentinel: Any = _untyped(Sentinel)(first, sentinel_kwargs=guards, **options)
        return sentinel.master_for(settings.sentinel_master)
    if settings.topology == "cluster":
        options.pop("db")
        nodes = [_untyped(ClusterNode)(host, port) for host, port in first]
        return RedisCluster(startup_nodes=nodes, **options)
    return _first_that_answers(first, options)


def _untyped(made: Any) -> Any:
    """Call what redis-py leaves without types."""
    return made


def _first_that_answers(addresses: Sequence[tuple[str, int]], options: dict[str, Any]) -> Any:
    for host, port in addresses[:-1]:
        client = redis.Redis(host=host, port=port, **options)
        try:
            client.ping()
        except (RedisError, OSError):
            client.close()
        else:
            return client
    host, port = addresses[-1]
    return redis.Redis(host=host, port=port, **options)


def _options(settings: Redis) -> dict[str, Any]:
    seconds = settings.timeout_ms / 1000
    return {
        "db": settings.database,
        "username": settings.username or None,
        "password": _password(settings.password_file),
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),  # a write may have happened: who is above asks first
        "protocol": 2,
        **_tls(settings),
    }


def _tls(settings: Redis) -> dict[str, Any]:
    if not settings.tls:
        return {}
    return {
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": settings.ca_file or None,
        "ssl_certfile": settings.cert_file or None,
        "ssl_keyfile": settings.key_file or None,
    }


def _password(file: str) -> str | None:
    if not file:
        return None
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            f"the password can't be read: {error.strerror}", Place(file=file, path="store.redis")
        ) from error
    return lines[0] if lines else ""


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


# ---- what a server says of itself

ASKED: tuple[Command, ...] = (
    (b"INFO",),
    (b"CONFIG", b"GET", b"*"),
    (b"COMMAND", b"INFO", b"WAITAOF"),
)
"""Sent to each master; `facts_of` reads the replies."""


def address_of(settings: Redis) -> str:
    """Name the deployment's servers for messages."""
    return ", ".join(settings.addresses)


def facts_of(address: str, replies: Sequence[Reply]) -> ServerFacts:
    """Read what a server said of itself."""
    info_reply, config_reply, waitaof = replies
    info = {}
    if isinstance(info_reply, bytes):
        lines = (line.partition(":") for line in info_reply.decode("utf-8", "replace").splitlines())
        info = {name: value for name, colon, value in lines if colon}
    settings: dict[str, str] = {}
    if isinstance(config_reply, list):
        told = [one.decode("utf-8", "replace") for one in config_reply]
        settings = dict(zip(told[::2], told[1::2], strict=True))
    return ServerFacts(
        address=address or f"port {info.get('tcp_port', '?')}",
        run_id=info.get("run_id", ""),
        role=info.get("role", ""),
        version=info.get("valkey_version") or info.get("redis_version", ""),
        waits_for_files=isinstance(waitaof, list) and bool(waitaof and waitaof[0]),
        replicas=sum(
            name.startswith("slave") and "state=online" in value for name, value in info.items()
        ),
        maxmemory=int(info.get("maxmemory", "0") or 0),
        settings=settings,
    )


def trouble_of(facts: ServerFacts, replicas_min: int) -> list[str]:
    """List why a server may forget what it acknowledged. Empty: it is durable."""
    told = facts.settings
    found = []
    if facts.role != "master":
        found.append(f"its role is {facts.role or 'unknown'}, not master")
    if not told:
        found.append("it doesn't tell its settings (CONFIG GET is denied)")
        return found
    if told.get("appendonly") != "yes":
        found.append("appendonly isn't yes")
    elif told.get("appendfsync") != "always":
        found.append(f"appendfsync is {told.get('appendfsync')}, not always")
    if told.get("no-appendfsync-on-rewrite") == "yes":
        found.append(
            "no-appendfsync-on-rewrite is yes: nothing is synced while the file is rewritten"
        )
    policy = told.get("maxmemory-policy", "noeviction")
    if facts.maxmemory and policy != "noeviction":
        found.append(f"maxmemory-policy is {policy}: it drops rows when memory is short")
    if facts.replicas < replicas_min:
        found.append(
            f"it has {facts.replicas} replicas online, and store.redis.replicas_min is {replicas_min}"
        )
    return found
