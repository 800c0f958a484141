"""What a TOML file may say about a twin, and how it is read.

seed = 7
every_mail_in_the_end = true

[[provider]]
name = "wp"
preset = "wp-like"                  # begin with a preset; what follows replaces its parts
domains = ["wp.pl", "*.wp.pl"]
greylist = { delay_s = 600 }        # within a part, what isn't named stays as in the preset
quotas = [{ limit = 200, window_s = 3600 }]
"""

from __future__ import annotations

__all__ = ("CONFIG_BYTES_MAX", "REFUSALS_MAX", "TwinConfig", "parse")

from collections.abc import Mapping
from ipaddress import ip_network
from types import NoneType
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from deliverability.twin.patterns import compile_patterns
from deliverability.twin.provider import ProviderConfig
from deliverability.twin.verdict import Rule
from engine.errors import ConfigError, Place
from engine.settings_text import Source, decode, did_you_mean

CONFIG_BYTES_MAX = 1 << 20
"""A longer configuration is refused unread."""
REFUSALS_MAX = 3
"""How often a message is refused at most, per recipient, if `every_mail_in_the_end`."""


class TwinConfig(Rule, frozen=True, kw_only=True):
    """A twin: its providers, and whether they take every mail in the end."""

    provider: Annotated[
        tuple[ProviderConfig, ...],
        Meta(min_length=1, max_length=1000, description="the first whose domains match serves it"),
    ] = (ProviderConfig(name="plain"),)
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="of all chance")] = 0
    hostname: Annotated[
        str, Meta(pattern=r"^[a-zA-Z0-9.-]{1,253}$", description="in the greeting")
    ] = "twin.localhost"
    every_mail_in_the_end: Annotated[
        bool, Meta(description="nothing is refused for good, nor more often than `refusals_max`")
    ] = False
    refusals_max: Annotated[
        int, Meta(ge=0, le=1000, description="of one message for one recipient")
    ] = REFUSALS_MAX


def parse(
    text: str, file: str = "", presets: Mapping[str, ProviderConfig] | None = None
) -> TwinConfig:
    """Make a configuration from the text of a TOML file.

    Raises:
        ConfigError: the first mistake, with file, line and key.
    """
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError(f"longer than {CONFIG_BYTES_MAX} characters", Place(file=file))
    source = Source(text, file)
    tree = source.tree()
    providers = tree.get("provider")
    if isinstance(providers, list):
        tree["provider"] = [
            _with_preset(provider, f"provider[{number}].preset", source, presets or {})
            for number, provider in enumerate(providers)
        ]
    _check_sections(tree.get("provider"), source)
    config = decode(tree, TwinConfig, source)
    _check(config, source)
    return config


class _Section(Source):
    """A part of a text, in which paths begin at that part."""

    def __init__(self, source: Source, path: str) -> None:
        super().__init__(source.text, source.file)
        self._prefix = path

    def error(self, path: str, message: str, mend: str = "") -> ConfigError:
        return super().error(f"{self._prefix}.{path}" if path else self._prefix, message, mend)


def _check_sections(providers: object, source: Source) -> None:
    """Decode the sections that may be absent one by one, which names their mistakes exactly."""
    for number, provider in enumerate(providers if isinstance(providers, list) else ()):
        for field in msgspec.structs.fields(ProviderConfig):
            section = provider.get(field.name) if isinstance(provider, dict) else None
            kinds = [kind for kind in get_args(field.type) if kind is not NoneType]
            if isinstance(section, dict) and len(kinds) == 1 and issubclass(kinds[0], Rule):
                decode(section, kinds[0], _Section(source, f"provider[{number}].{field.name}"))


def _with_preset(
    provider: object, path: str, source: Source, presets: Mapping[str, ProviderConfig]
) -> object:
    if not isinstance(provider, dict) or "preset" not in provider:
        return provider
    named = dict(provider)
    name = named.pop("preset")
    preset = presets.get(name) if isinstance(name, str) else None
    if preset is None:
        mend = did_you_mean(str(name), presets) or f"choose from {', '.join(presets)}"
        raise source.error(path, f"there is no preset {name!r}", mend)
    return _merge(msgspec.to_builtins(preset), named)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one table over another: tables merge, all else replaces."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = _merge(under, value)
        else:
            merged[key] = value
    return merged


def _check(config: TwinConfig, source: Source) -> None:
    names: set[str] = set()
    for number, provider in enumerate(config.provider):
        path = f"provider[{number}]"
        if provider.name in names:
            raise source.error(f"{path}.name", f"two providers are named {provider.name!r}")
        names.add(provider.name)
        _check_provider(provider, path, source)


def _check_provider(provider: ProviderConfig, path: str, source: Source) -> None:
    boxes, faults, pace = provider.mailboxes, provider.faults, provider.pace
    patterns = {"domains": provider.domains}
    if boxes:
        patterns["mailboxes.unknown"] = boxes.unknown
        patterns["mailboxes.disabled"] = boxes.disabled
        patterns["mailboxes.full"] = boxes.full
        if boxes.unknown_share + boxes.disabled_share > 1:
            raise source.error(
                f"{path}.mailboxes", "unknown_share and disabled_share add up to more than 1"
            )
    for key, names in patterns.items():
        try:
            compile_patterns(names)
        except ValueError as error:
            raise source.error(f"{path}.{key}", str(error)) from None
    for address in provider.blocklist.sources if provider.blocklist else ():
        try:
            ip_network(address, strict=False)
        except ValueError:
            message = f"{address!r} is neither an address nor a network"
            raise source.error(f"{path}.blocklist.sources", message) from None
    if faults and faults.temporary_rate + faults.closing_rate + faults.hang_up_rate > 1:
        raise source.error(f"{path}.faults", "the rates add up to more than 1")
    if pace and pace.at_most_ms and pace.at_most_ms < pace.at_least_ms:
        raise source.error(f"{path}.pace.at_most_ms", "is less than at_least_ms")
