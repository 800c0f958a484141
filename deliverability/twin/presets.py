"""Ready-made providers, named by the kind they are like, and ready-made twins of one or of several.

Limits are of the order that the field reports for such providers, for a sender without special
agreement; most publish none, so they are a plausible world and no truth about any one provider.
"""

from __future__ import annotations

__all__ = ("PRESETS", "mixed", "parse_with_presets", "twin_of")

import msgspec

from deliverability.twin import config
from deliverability.twin.config import TwinConfig
from deliverability.twin.connections import Connections
from deliverability.twin.faults import DotWithoutReply, Faults
from deliverability.twin.greylist import Greylist
from deliverability.twin.mailboxes import Mailboxes
from deliverability.twin.pace import Pace, Tarpit
from deliverability.twin.provider import ProviderConfig, Require
from deliverability.twin.quota import Quota
from deliverability.twin.reputation import Growth, Reputation
from engine.errors import InputError

_HOUR = 3600
_DAY = 86_400
_BY_NAME = Mailboxes(
    unknown=("unknown", "unknown+*"), disabled=("disabled",), full=("full", "full+*")
)
"""Addresses to try things out with: `unknown@…`, `disabled@…`, `full@…`."""

_ALL = (
    ProviderConfig(name="plain", mailboxes=_BY_NAME),
    ProviderConfig(name="sink"),
    ProviderConfig(
        name="gmail-like",
        dialect="gmail",
        require=Require(dkim=True),
        connections=Connections(open_max=20, mails_max=100),
        mailboxes=msgspec.structs.replace(_BY_NAME, unknown_share=0.005, full_share=0.003),
        reputation=Reputation(unknown_share_max=0.1),
        growth=Growth(first_day=5000, factor=2.0, per="sender_domain"),
        quotas=(Quota(limit=20_000, window_s=_HOUR, per="sender_domain"),),
        faults=Faults(temporary_rate=0.002, closing_rate=0.001),
    ),
    ProviderConfig(
        name="microsoft-like",
        dialect="microsoft",
        require=Require(dkim=True),
        connections=Connections(open_max=5, mails_max=50),
        mailboxes=msgspec.structs.replace(_BY_NAME, unknown_share=0.01, disabled_share=0.002),
        reputation=Reputation(unknown_share_max=0.08, block_s=4 * _HOUR, permanent=True),
        quotas=(Quota(limit=10_000, window_s=_HOUR),),
        faults=Faults(temporary_rate=0.01),
    ),
    ProviderConfig(
        name="yahoo-like",
        dialect="yahoo",
        connections=Connections(open_max=10, mails_max=20, then="hang_up"),
        mailboxes=msgspec.structs.replace(_BY_NAME, unknown_share=0.01, full_share=0.005),
        reputation=Reputation(unknown_share_max=0.1, block_s=2 * _HOUR),
        quotas=(Quota(limit=10_000, window_s=_HOUR),),
        faults=Faults(temporary_rate=0.005),
    ),
    ProviderConfig(
        name="wp-like",
        dialect="wp",
        connections=Connections(open_max=4, mails_max=50),
        mailboxes=msgspec.structs.replace(_BY_NAME, unknown_share=0.01, full_share=0.02),
        quotas=(
            Quota(limit=300, window_s=_HOUR),
            Quota(limit=2500, window_s=_DAY),
        ),
    ),
    ProviderConfig(
        name="onet-like",
        dialect="onet",
        connections=Connections(open_max=3, mails_max=50),
        mailboxes=msgspec.structs.replace(_BY_NAME, unknown_share=0.01, full_share=0.02),
        greylist=Greylist(delay_s=900, by="sender_domain"),
        quotas=(Quota(limit=400, window_s=2 * _HOUR),),
    ),
    ProviderConfig(name="greylister", mailboxes=_BY_NAME, greylist=Greylist(delay_s=300)),
    ProviderConfig(
        name="flaky",
        mailboxes=_BY_NAME,
        faults=Faults(
            temporary_rate=0.1,
            closing_rate=0.03,
            hang_up_rate=0.05,
            phases=("mail", "rcpt", "data", "dot"),
        ),
    ),
    ProviderConfig(
        name="forgetful", mailboxes=_BY_NAME, dot_without_reply=DotWithoutReply(rate=0.05)
    ),
    ProviderConfig(
        name="troublesome",
        connections=Connections(mails_max=100),
        greylist=Greylist(delay_s=300),
        quotas=(Quota(limit=500, window_s=_HOUR),),
        faults=Faults(
            temporary_rate=0.05,
            closing_rate=0.01,
            hang_up_rate=0.02,
            phases=("mail", "rcpt", "data", "dot"),
        ),
    ),
    ProviderConfig(
        name="slow",
        mailboxes=_BY_NAME,
        pace=Pace(at_least_ms=200, at_most_ms=2000, phases=("connect", "dot")),
        tarpit=Tarpit(free=2, step_ms=1000),
    ),
    ProviderConfig(
        name="strict",
        require=Require(dkim=True, tls=True),
        connections=Connections(open_max=2, per_minute_max=30, mails_max=10),
        mailboxes=_BY_NAME,
        reputation=Reputation(unknown_share_max=0.02, recipients_min=20, permanent=True),
        greylist=Greylist(delay_s=600),
        quotas=(
            Quota(limit=20, window_s=60),
            Quota(limit=5, window_s=_HOUR, window="fixed", per="recipient"),
        ),
        tarpit=Tarpit(),
    ),
)

PRESETS: dict[str, ProviderConfig] = {provider.name: provider for provider in _ALL}
"""Providers for all domains, by name."""

_MIXED_DOMAINS: dict[str, tuple[str, ...]] = {
    "gmail-like": ("gmail.*", "googlemail.*"),
    "microsoft-like": ("outlook.*", "hotmail.*", "live.*", "msn.*"),
    "yahoo-like": ("yahoo.*", "aol.*", "ymail.*"),
    "wp-like": ("wp.*", "o2.*", "tlen.*"),
    "onet-like": ("onet.*", "op.*", "vp.*", "poczta.onet.*"),
    "greylister": ("greylister.*", "grey.*"),
    "flaky": ("flaky.*",),
    "forgetful": ("forgetful.*",),
    "troublesome": ("troublesome.*",),
    "slow": ("slow.*",),
    "strict": ("strict.*",),
    "plain": ("*",),
}


def twin_of(name: str, *, seed: int = 0, every_mail_in_the_end: bool = False) -> TwinConfig:
    """Make a twin of one preset for all domains, or of all presets (`mixed`).

    Raises:
        InputError: there is no such preset.
    """
    if name == "mixed":
        return mixed(seed=seed, every_mail_in_the_end=every_mail_in_the_end)
    preset = PRESETS.get(name)
    if preset is None:
        known = ", ".join([*PRESETS, "mixed"])
        raise InputError(f"there is no preset {name!r}", mend=f"choose from {known}")
    return TwinConfig(provider=(preset,), seed=seed, every_mail_in_the_end=every_mail_in_the_end)


def mixed(*, seed: int = 0, every_mail_in_the_end: bool = False) -> TwinConfig:
    """Make a twin of all presets, each for domains that sound like it: `wp.test`, `gmail.example`."""
    providers = tuple(
        msgspec.structs.replace(PRESETS[name], domains=domains)
        for name, domains in _MIXED_DOMAINS.items()
    )
    return TwinConfig(provider=providers, seed=seed, every_mail_in_the_end=every_mail_in_the_end)


def parse_with_presets(text: str, file: str = "") -> TwinConfig:
    """Make a configuration from TOML in which providers may name a preset.

    Raises:
        ConfigError: the first mistake.
    """
    return config.parse(text, file, PRESETS)
