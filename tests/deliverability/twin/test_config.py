"""Configurations of twins, their mistakes, presets and dialects."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from deliverability.twin.config import CONFIG_BYTES_MAX, TwinConfig, parse
from deliverability.twin.dialects import DIALECTS, Cause, DialectName, reply
from deliverability.twin.presets import PRESETS, mixed, parse_with_presets, twin_of
from deliverability.twin.quota import Quota
from deliverability.twin.twin import Twin
from engine.errors import ConfigError, InputError

GOOD = """
seed = 7
every_mail_in_the_end = true

[[provider]]
name = "wp"
preset = "wp-like"
domains = ["wp.pl", "*.wp.pl"]
quotas = [{ limit = 200, window_s = 3600 }]

[provider.mailboxes]
full_share = 0.5

[[provider]]
name = "rest"
greylist = {}
"""


def test_presets_are_merged() -> None:
    """What a file names replaces a preset's value; within a section the rest of the preset stays."""
    config = parse_with_presets(GOOD, "twin.toml")
    wp, rest = config.provider
    preset = PRESETS["wp-like"]
    assert (config.seed, config.every_mail_in_the_end) == (7, True)
    assert (wp.name, wp.dialect, wp.domains) == ("wp", "wp", ("wp.pl", "*.wp.pl"))
    assert wp.quotas == (Quota(limit=200, window_s=3600),)
    assert wp.connections == preset.connections
    assert wp.mailboxes is not None
    assert preset.mailboxes is not None
    assert wp.mailboxes.full_share == 0.5
    assert wp.mailboxes.unknown_share == preset.mailboxes.unknown_share
    assert rest.greylist is not None
    assert rest.greylist.delay_s == 300


PROVIDER = '[[provider]]\nname = "p"\n'


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("seeds = 1", "seeds", "did you mean 'seed'"),
        ("seed = -1", "seed", ">= 0"),
        ("seed = ", "twin.toml:1", "isn't valid TOML"),
        ("provider = 3", "provider", "expected"),
        ("provider = []", "provider", ""),
        (PROVIDER + 'dialect = "gmial"', "provider[0].dialect", "did you mean 'gmail'"),
        (PROVIDER + 'preset = "gmail"', "provider[0].preset", "did you mean 'gmail-like'"),
        (PROVIDER + "preset = 3", "provider[0].preset", "choose from plain"),
        (PROVIDER + "[provider.greylist]\ndelay = 3", "twin.toml:4", "did you mean 'delay_s'"),
        (PROVIDER + "greylist = { delay_s = 0 }", "provider[0].greylist.delay_s", "1"),
        (PROVIDER + "quotas = [{ limit = 1 }]", "provider[0].quotas[0]", "'window_s' is missing"),
        (PROVIDER + PROVIDER, "provider[1].name", "two providers"),
        (PROVIDER + 'domains = ["*.*.*.*.a"]', "provider[0].domains", "stars"),
        (PROVIDER + 'mailboxes = { full = ["****"] }', "provider[0].mailboxes.full", "stars"),
        (
            PROVIDER + 'blocklist = { sources = ["1.2.3"] }',
            "blocklist.sources",
            "neither an address",
        ),
        (PROVIDER + "faults = { hang_up_rate = 0.7, closing_rate = 0.7 }", "faults", "more than 1"),
        (
            PROVIDER + "mailboxes = { unknown_share = 0.7, disabled_share = 0.7 }",
            "mailboxes",
            "more",
        ),
        (PROVIDER + "pace = { at_least_ms = 9, at_most_ms = 3 }", "pace.at_most_ms", "less"),
        ("#" + "x" * CONFIG_BYTES_MAX, "twin.toml", "longer than"),
        ("a = " + "[" * 5000, "twin.toml", ""),
    ],
)
def test_mistakes_are_one_clear_line(text: str, where: str, what: str) -> None:
    """Each names the file, the key, what was expected, and how to mend it where that is known."""
    with pytest.raises(ConfigError) as caught:
        parse_with_presets(text, "twin.toml")
    message = str(caught.value)
    assert message.startswith("twin.toml")
    assert "\n" not in message
    assert where in message
    assert what in message


def test_presets_survive_the_way_through_a_file() -> None:
    """Every preset is the same after it was encoded and decoded as a configuration."""
    for name in [*PRESETS, "mixed"]:
        config = twin_of(name, seed=3, every_mail_in_the_end=True)
        assert msgspec.convert(msgspec.to_builtins(config), TwinConfig) == config
    assert parse("") == TwinConfig()


def test_unknown_preset() -> None:
    """It is named together with those that there are."""
    with pytest.raises(InputError, match=r"no preset 'gmx'.*choose from plain"):
        twin_of("gmx")


def test_mixed_finds_a_provider_for_every_domain() -> None:
    """Each preset of the mixed twin has domains of its own, and the plain one takes the rest."""
    twin = Twin(mixed())
    expected = {
        "gmail.test": "gmail-like",
        "googlemail.com": "gmail-like",
        "hotmail.example": "microsoft-like",
        "yahoo.co.test": "yahoo-like",
        "wp.test": "wp-like",
        "poczta.onet.test": "onet-like",
        "strict.example": "strict",
        "gmail-but-not.test": "plain",
    }
    for domain, name in expected.items():
        provider = twin.provider_of(domain)
        assert provider is not None
        assert provider.name == name


@pytest.mark.parametrize("dialect", get_args(DialectName))
def test_dialects_say_everything_sensibly(dialect: DialectName) -> None:
    """Every cause has a reply whose code and enhanced status code agree, with all its holes filled."""
    values = {
        "source": "192.0.2.1",
        "recipient": "{u}@p.example",
        "domain": "p.example",
        "wait_s": "60",
        "zone": "bl.example",
    }
    permanent = {
        "blocklisted",
        "disabled",
        "relay_denied",
        "reputation_lost",
        "tls_required",
        "unauthenticated",
        "unknown",
    }
    for cause in get_args(Cause):
        said = reply(dialect, cause, values)
        assert (said.code >= 500) == (cause in permanent)
        assert not said.enhanced or said.enhanced[0] == str(said.code)[0]
        assert "{" not in said.text.replace("{u}", "")
        assert all(len(line) < 490 for line in said.encode().splitlines())
    for said in (DIALECTS[dialect].recipient_ok, DIALECTS[dialect].taken):
        assert said.code == 250
