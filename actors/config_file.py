"""Reads the configuration file of an instance: the one place where the configuration meets files and environment."""

from __future__ import annotations

__all__ = ("DEFAULT_FILE", "load", "read_secret_line")

from collections.abc import Mapping
from pathlib import Path

from engine.config import CONFIG_BYTES_MAX, Config, parse
from engine.errors import ConfigError, Place

DEFAULT_FILE = Path("veredus.toml")


def load(given: Path | None, environ: Mapping[str, str]) -> Config:
    """Read and decode the configuration; without a file named, ./veredus.toml, or all defaults if there is none.

    Raises:
        ConfigError: the file can't be read, or has a mistake.
    """
    if given is None and not DEFAULT_FILE.exists():
        return parse("", "", environ)
    file = given or DEFAULT_FILE
    return parse(_read(file), str(file), environ)


def read_secret_line(file: str, key: str) -> str:
    """Read the first line of a file that a key of the configuration names, such as a password.

    Raises:
        ConfigError: it can't be read, or is empty.
    """
    line = _read(Path(file), key).partition("\n")[0].strip()
    if not line:
        raise ConfigError("the file is empty", Place(file=file, path=key))
    return line


def _read(file: Path, key: str = "") -> str:
    place = Place(file=str(file), path=key)
    try:
        with file.open("rb") as opened:
            raw = opened.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        mend = "" if key else "`veredus init` writes one"
        raise ConfigError("there is no such file", place, mend) from None
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", place) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("isn't UTF-8", place) from None
