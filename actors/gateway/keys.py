"""Who asks: from an API key, or the door they came through, to a tenant. Pure."""

from __future__ import annotations

__all__ = ("Keys", "Principal", "Unknown", "hash_key")

import hmac
from collections.abc import Mapping
from hashlib import sha256

import msgspec

from engine.config import Config
from engine.settings_text import is_loopback

_INDEX_BYTES = 8


class Principal(msgspec.Struct, frozen=True):
    """Whose data a request concerns, and whether it may see what concerns the whole instance."""

    tenant: str
    operator: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """Why a request belongs to nobody."""

    reason: str


def hash_key(key: str) -> str:
    """Hash an API key as the configuration keeps it. Keys are 256 random bits, so a plain hash can't be guessed."""
    return f"sha256:{sha256(key.encode()).hexdigest()}"


class Keys:
    """All keys of a configuration."""

    def __init__(self, config: Config) -> None:
        self._default = config.tenant[0].name
        self._tenants = frozenset(tenant.name for tenant in config.tenant)
        # The index by a part of the hash saves comparing with all; the rest is compared in constant time.
        self._keys: dict[bytes, list[tuple[bytes, Principal]]] = {}
        for tenant in config.tenant:
            for key_hash in tenant.api_key_hashes:
                self._add(key_hash, Principal(tenant.name))
        for key_hash in config.http.operator_key_hashes:
            self._add(key_hash, Principal(self._default, operator=True))
        self._open = config.http.require_key == "auto" and is_loopback(config.http.host)
        door = config.submission
        self._open_to_mail = door.require_auth == "auto" and is_loopback(door.host)

    def _add(self, key_hash: str, principal: Principal) -> None:
        digest = bytes.fromhex(key_hash.removeprefix("sha256:"))
        self._keys.setdefault(digest[:_INDEX_BYTES], []).append((digest, principal))

    def by_network(self, headers: Mapping[bytes, bytes]) -> Principal | Unknown:
        """Tell who asks over TCP: the owner of the key; without one, on loopback, the operator of this machine.

        Without a key the Host must be a name of this machine, or else any web page could speak for its reader by a
        name of its own that resolves to 127.0.0.1.
        """
        authorization = headers.get(b"authorization")
        if authorization is not None:
            return self._by_key(authorization)
        if not self._open:
            return Unknown("an API key is needed: `Authorization: Bearer KEY`")
        if not _is_local_name(headers.get(b"host", b"")):
            return Unknown("without an API key the Host must be localhost or a loopback address")
        return self._as_operator(headers)

    def by_socket(self, headers: Mapping[bytes, bytes]) -> Principal | Unknown:
        """Tell who asks over the local socket, which only its owner can open: the operator, for any tenant."""
        return self._as_operator(headers)

    def by_credentials(self, username: str, password: str) -> Principal | Unknown:
        """Tell who logs in over SMTP: the password is an API key, the user name its tenant's, or `apikey`."""
        found = self._owner(password.encode())
        if found is None:
            return Unknown("this API key isn't known")
        if found.operator and username in self._tenants:
            return Principal(username, operator=True)
        return found if username in (found.tenant, "apikey") else Unknown("not this user's key")

    def of_this_machine(self, address: str) -> Principal | None:
        """Tell who submits mail without AUTH: on loopback, where it isn't always wanted, this machine's operator."""
        if self._open_to_mail and is_loopback(address):
            return Principal(self._default, operator=True)
        return None

    def _owner(self, key: bytes) -> Principal | None:
        digest = sha256(key).digest()
        found = None
        for known, principal in self._keys.get(digest[:_INDEX_BYTES], ()):
            if hmac.compare_digest(known, digest):
                found = principal
        return found

    def _by_key(self, authorization: bytes) -> Principal | Unknown:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return Unknown("expected `Authorization: Bearer KEY`")
        return self._owner(key.strip()) or Unknown("this API key isn't known")

    def _as_operator(self, headers: Mapping[bytes, bytes]) -> Principal | Unknown:
        tenant = headers.get(b"veredus-tenant", b"").decode("latin-1") or self._default
        if tenant not in self._tenants:
            return Unknown(f"there is no tenant {tenant!r}")
        return Principal(tenant, operator=True)


def _is_local_name(host: bytes) -> bool:
    name = host.decode("latin-1")
    if name.startswith("["):
        return is_loopback(name[1:].partition("]")[0])
    return is_loopback(name.partition(":")[0])
