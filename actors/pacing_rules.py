"""What the configuration says about pace, made into what the pacer takes: rules, warm-ups, options."""

from __future__ import annotations

__all__ = ("flows_of", "is_paced", "options_of", "pack_text", "rules_of")

from importlib.resources import files
from pathlib import Path

from deliverability.pacing.flows import FlowLimit
from deliverability.pacing.pacer import PacerOptions
from deliverability.pacing.warming import WarmupPlan
from deliverability.shaping.quantities import parse_throttle
from deliverability.shaping.reading import read_rule_set
from deliverability.shaping.rules import RuleSet
from deliverability.warmup.plan import WarmupOptions
from engine.config import Config
from engine.errors import ConfigError, InputError, Place
from engine.settings_pacing import Warmup

PACK = "provider_pack.toml"


def is_paced(config: Config) -> bool:
    """Tell whether mail is paced."""
    mode = config.pacing.mode
    return mode == "on" or (mode == "auto" and config.delivery.mode == "live")


def pack_text() -> str:
    """Read the rule pack that comes with Veredus."""
    return files("deliverability.shaping").joinpath(PACK).read_text("utf-8")


def rules_of(config: Config) -> RuleSet:
    """Read the pack and the files over it.

    Raises:
        ConfigError: a file can't be read.
        InputError: a mistake in a file, with its line.
    """
    texts = [(PACK, pack_text())] if config.pacing.rule_pack else []
    for name in config.pacing.rule_files:
        try:
            texts.append((name, Path(name).read_text("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{name} can't be read: {error}", Place(path="pacing.rule_files")
            ) from error
    return read_rule_set(texts)


def options_of(config: Config, share: int = 1) -> PacerOptions:
    """Give what a pacer begins with; `share`: of so many that share the limits."""
    pacing, delivery = config.pacing, config.delivery
    return PacerOptions(
        first_per_hour=min(pacing.first_per_hour, pacing.max_per_hour),
        max_per_hour=pacing.max_per_hour,
        connections_max=max(delivery.connections_per_site_max // share, 1),
        messages_per_connection=delivery.messages_per_connection_max,
        warmups=tuple(_plan(one) for one in pacing.warmup),
        share=share,
        flows=flows_of(config),
    )


def flows_of(config: Config) -> tuple[FlowLimit, ...]:
    """Give the limits of tenants and streams. Raises: ConfigError: one of them is no rate."""
    found: dict[str, FlowLimit] = {}
    for number, one in enumerate(config.pacing.limit):
        place = Place(path=f"pacing.limit[{number}].rate")
        try:
            throttle = parse_throttle(one.rate)
        except InputError as error:
            raise ConfigError(error.message, place, error.mend) from None
        if throttle.local:
            mend = "such as 1000/hr or 1000/hr,max_burst=50: it counts over all senders"
            raise ConfigError("a limit here isn't local:", place, mend)
        words = (
            f"tenant {one.tenant}" if one.tenant else "",
            f"stream {one.stream}" if one.stream else "",
            f"at {one.provider}" if one.provider != "*" else "",
            f"from {one.source}" if one.source else "",
            f"{one.rate}",
            "bytes" if one.of == "bytes" else "",
        )
        name = " ".join(filter(None, words))
        if name in found:
            raise ConfigError("the same limit is written twice", place)
        found[name] = FlowLimit(
            name, throttle, one.tenant, one.stream, one.provider, one.source, one.of
        )
    return tuple(found.values())


def _plan(one: Warmup) -> WarmupPlan:
    options = WarmupOptions(
        first_day=one.first_day,
        goal_per_day=one.goal_per_day,
        growth_percent=one.growth_percent,
        hold_complaints=max(int(one.hold_complaints_percent * 100), 1),
        cut_complaints=max(int(one.cut_complaints_percent * 100), 1),
        rest_days=one.rest_days,
    )
    return WarmupPlan(one.source, one.provider, options)
