"""Which DKIM keys sign: those of the configuration, from files or the environment, as rotations have changed them.

Rotations are kept in `dkim.json` in the data directory.
"""

from __future__ import annotations

__all__ = ("active_keys", "configured_keys", "read_pem", "read_rotations", "write_rotation")

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from deliverability.policy.rotation import Phase, Rotation
from engine.config import Config, DkimKey, Tenant
from engine.errors import ConfigError, InputError, Place

_FILE = "dkim.json"


class _File(msgspec.Struct, frozen=True):
    """What the file holds: the rotations, the newest last."""

    rotations: tuple[Rotation, ...] = ()


def read_rotations(data_dir: Path) -> tuple[Rotation, ...]:
    """Read the rotations of an instance; none where there is no file. Raises: InputError: it can't be read."""
    file = data_dir / _FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=_File).rotations
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"can't be read: {error}", Place(file=str(file))) from None


def write_rotation(data_dir: Path, rotation: Rotation) -> None:
    """Put a rotation in the place of that of the same domain and selectors, or behind all; atomic and synced."""
    kept = [one for one in read_rotations(data_dir) if _identity(one) != _identity(rotation)]
    raw = msgspec.json.format(msgspec.json.encode(_File((*kept, rotation))), indent=1)
    file, made = data_dir / _FILE, data_dir / f"{_FILE}.new"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with made.open("wb") as opened:
            opened.write(raw + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        made.replace(file)
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Place(file=str(file))) from None


def configured_keys(config: Config, tenant: Tenant) -> tuple[DkimKey, ...]:
    """Give the keys that sign a tenant's mail by the configuration: its own, then the platform's."""
    return (*tenant.dkim, *config.delivery.dkim)


def read_pem(key: DkimKey, environ: Mapping[str, str]) -> bytes:
    """Read a key. Raises: ConfigError: its file can't be read, or the variable isn't set."""
    if key.key_env:
        found = environ.get(key.key_env)
        if not found:
            place = Place(path="dkim.key_env")
            raise ConfigError(f"the environment variable {key.key_env} isn't set", place)
        return found.encode()
    try:
        return Path(key.key_file).read_bytes()
    except OSError as error:
        place = Place(path="dkim.key_file")
        raise ConfigError(f"{key.key_file}: {error.strerror}", place) from error


def active_keys(keys: Sequence[DkimKey], rotations: Sequence[Rotation]) -> tuple[DkimKey, ...]:
    """Give the keys that sign: those of the configuration, each put through the rotations that have switched."""
    current = list(keys)
    for rotation in rotations:
        if rotation.phase is Phase.PUBLISHED:
            continue
        for at, key in enumerate(current):
            if (key.domain, key.selector) == (rotation.domain, rotation.old_selector):
                current[at] = DkimKey(
                    domain=key.domain,
                    selector=rotation.new_selector,
                    key_file=rotation.new_key_file,
                )
    return tuple(current)


def _identity(rotation: Rotation) -> tuple[str, str, str]:
    return rotation.domain, rotation.old_selector, rotation.new_selector
