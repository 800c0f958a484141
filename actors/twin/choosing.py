"""Which twin a command means: a preset by its name, or a file of one's own."""

from __future__ import annotations

__all__ = ("read_twin", "twin_named")

from pathlib import Path

import msgspec

from deliverability.twin.config import CONFIG_BYTES_MAX, TwinConfig
from deliverability.twin.pace import Pace
from deliverability.twin.presets import parse_with_presets, twin_of
from engine.errors import InputError, Place


def twin_named(
    name: str, *, seed: int = 0, every_mail_in_the_end: bool = False, pace_ms: int = 0
) -> TwinConfig:
    """Make a twin: of a preset, or, where the name ends in `.toml`, as a file says.

    With `pace_ms` each provider thinks so long before it answers a mail, where nothing else is said of its pace.

    Raises:
        InputError: there is no such preset or file. ConfigError: a mistake in the file.
    """
    if not name.endswith(".toml"):
        made = twin_of(name, seed=seed, every_mail_in_the_end=every_mail_in_the_end)
        return _paced(made, pace_ms)
    made = read_twin(Path(name))
    if seed:
        made = msgspec.structs.replace(made, seed=seed)
    if every_mail_in_the_end:
        made = msgspec.structs.replace(made, every_mail_in_the_end=True)
    return _paced(made, pace_ms)


def _paced(twin: TwinConfig, pace_ms: int) -> TwinConfig:
    if not pace_ms:
        return twin
    pace = Pace(at_least_ms=pace_ms)
    providers = tuple(
        one if one.pace is not None else msgspec.structs.replace(one, pace=pace)
        for one in twin.provider
    )
    return msgspec.structs.replace(twin, provider=providers)


def read_twin(file: Path) -> TwinConfig:
    """Read a twin's configuration. Raises: InputError, ConfigError."""
    try:
        with file.open("rb") as opened:
            text = opened.read(CONFIG_BYTES_MAX + 1).decode("utf-8")
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Place(file=str(file))) from None
    except UnicodeDecodeError as error:
        place = Place(file=str(file))
        raise InputError(f"isn't UTF-8 at octet {error.start}", place) from None
    return parse_with_presets(text, str(file))
