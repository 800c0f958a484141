"""Which DKIM keys sign: those of the configuration, from files, folders or the environment, as rotations changed them.

Rotations are kept in `dkim.json` in the data directory, and which key of a folder signs.
"""

from __future__ import annotations

__all__ = (
    "active_keys",
    "candidates",
    "choice_of",
    "configured_keys",
    "read_chosen",
    "read_pem",
    "read_rotations",
    "signing_keys",
    "state_file",
    "write_chosen",
    "write_rotation",
)

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
    chosen: dict[str, str] = {}  # domain and folder -> the selector that signs


def state_file(data_dir: Path) -> Path:
    """Name the file that rotations and choices are kept in."""
    return data_dir / _FILE


def read_rotations(data_dir: Path) -> tuple[Rotation, ...]:
    """Read the rotations of an instance; none where there is no file. Raises: InputError: it can't be read."""
    return _read(data_dir).rotations


def read_chosen(data_dir: Path) -> dict[str, str]:
    """Read which key of each folder signs. Raises: InputError: it can't be read."""
    return _read(data_dir).chosen


def _read(data_dir: Path) -> _File:
    file = data_dir / _FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=_File)
    except FileNotFoundError:
        return _File()
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"can't be read: {error}", Place(file=str(file))) from None


def write_rotation(data_dir: Path, rotation: Rotation) -> None:
    """Put a rotation in the place of that of the same domain and selectors, or behind all; atomic and synced."""
    state = _read(data_dir)
    kept = [one for one in state.rotations if _identity(one) != _identity(rotation)]
    _write(data_dir, _File((*kept, rotation), state.chosen))


def write_chosen(data_dir: Path, key: DkimKey, selector: str) -> None:
    """Say which key of a folder signs from now on; atomic and synced."""
    state = _read(data_dir)
    _write(data_dir, _File(state.rotations, {**state.chosen, choice_of(key): selector}))


def choice_of(key: DkimKey) -> str:
    """Name a folder's choice."""
    return f"{key.domain} {Path(key.key_dir).absolute()}"


def _write(data_dir: Path, state: _File) -> None:
    raw = msgspec.json.format(msgspec.json.encode(state), indent=1)
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


def signing_keys(config: Config, keys: Sequence[DkimKey]) -> tuple[DkimKey, ...]:
    """Give the keys that sign now: of each folder the chosen one, put through the rotations that have switched.

    Raises: ConfigError: a folder has no key. InputError: the state can't be read.
    """
    state = _read(Path(config.data_dir))
    found = [_of_folder(key, state.chosen) if key.key_dir else key for key in keys]
    return active_keys(found, state.rotations)


def candidates(key: DkimKey) -> list[DkimKey]:
    """List the keys of a folder, the newest first. Raises: ConfigError: it has none, or can't be read."""
    folder = Path(key.key_dir)
    try:
        files = [(one.stat().st_mtime_ns, one.stem, one) for one in folder.glob("*.pem")]
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", Place(path="dkim.key_dir")) from error
    if not files:
        mend = f"`veredus dkim keygen {key.domain} s1 --out {folder / 's1.pem'}` makes one"
        raise ConfigError(f"{folder} holds no SELECTOR.pem", Place(path="dkim.key_dir"), mend)
    return [
        DkimKey(domain=key.domain, selector=stem.lower(), key_file=str(file))
        for _, stem, file in sorted(files, reverse=True)
    ]


def _of_folder(key: DkimKey, chosen: Mapping[str, str]) -> DkimKey:
    found = candidates(key)
    selector = chosen.get(choice_of(key), "")
    return next((one for one in found if one.selector == selector), found[0])


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
