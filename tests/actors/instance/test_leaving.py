"""What is checked and said before mail leaves this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.dkim_state import read_pem
from actors.instance.leaving import announced, verify_senders
from actors.worker.rendering import letterheads
from deliverability.dkim.keys import dns_record, generate_pem, load_key
from deliverability.dns.asking import Asking, run
from deliverability.dns.zone import parse_zone
from deliverability.policy.dkim_record import Published
from engine.config import Config, DkimKey, parse
from engine.errors import ConfigError, RefusedError

CONFIG = """
data_dir = "{folder}"
[delivery]
mode = "live"
allow = ["@friends.example", "ada@example.org"]
ehlo_name = "out.shop.example"
[[delivery.dkim]]
domain = "platform.example"
selector = "p"
key_env = "PLATFORM_KEY"
[[tenant]]
from_domains = ["shop.example", "mail.shop.example"{more}]
[[tenant.dkim]]
domain = "shop.example"
selector = "s"
key_file = "{folder}/s.pem"
"""


def _config(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Config:
    (folder / "s.pem").write_bytes(generate_pem("ed25519-sha256"))
    monkeypatch.setenv("PLATFORM_KEY", generate_pem("ed25519-sha256").decode())
    return parse(CONFIG.format(folder=folder, more=more))


def _verify(config: Config, published: dict[str, str]) -> None:
    heads = letterheads(config, lambda _tenant: b"a secret of sixteen bytes")
    zone = "\n".join(f'["{name}"]\nTXT = ["{record}"]' for name, record in published.items())

    async def ask(asking: Asking[Published]) -> Published:
        return run(asking, parse_zone(zone).answer)

    asyncio.run(verify_senders(config, heads, ask))


def _records(config: Config) -> dict[str, str]:
    heads = letterheads(config, lambda _tenant: b"a secret of sixteen bytes")
    keys = heads["default"].keys
    return {f"{key.selector}._domainkey.{key.domain}": dns_record(key) for key in keys}


def test_mail_is_signed_by_the_tenant_and_by_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key from a file and one from the environment; all are in DNS, so mail may leave."""
    config = _config(tmp_path, monkeypatch)
    records = _records(config)
    assert list(records) == ["s._domainkey.shop.example", "p._domainkey.platform.example"]
    _verify(config, records)


@pytest.mark.parametrize("missing", ["s._domainkey.shop.example", "p._domainkey.platform.example"])
def test_a_key_that_dns_doesnt_show_keeps_mail_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """It is named, with what to do."""
    config = _config(tmp_path, monkeypatch)
    records = _records(config)
    del records[missing]
    with pytest.raises(RefusedError, match=rf"isn't in DNS: {missing}: no such name.*dkim check"):
        _verify(config, records)
    other = load_key(generate_pem("ed25519-sha256"), "x.example", "x")
    with pytest.raises(RefusedError, match="holds another key"):
        _verify(config, records | {missing: dns_record(other)})


def test_a_from_domain_that_no_key_covers_keeps_mail_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of another From domain, or the platform's, doesn't vouch for it."""
    config = _config(tmp_path, monkeypatch, ', "other.example"')
    with pytest.raises(RefusedError, match=r"no key signs for the From domain other\.example"):
        _verify(config, _records(config))


def test_it_is_said_to_whom_mail_goes_and_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where, to whom, and what waits."""
    config = _config(tmp_path, monkeypatch)
    said = announced(config, [{"queued": 1200, "delivered": 7}, {"queued": 34}, {}])
    assert said == (
        "mail leaves this machine, by MX hosts, to 2 mailboxes and domains of delivery.allow; "
        "1,234 messages are queued for it"
    )


def test_a_key_comes_from_one_place(tmp_path: Path) -> None:
    """A file or a variable, and both say what is missing."""
    one = "[[tenant]]\nfrom_domains = ['a.example']\n[[tenant.dkim]]\ndomain = 'a.example'\n"
    for keys in ("", "key_file = 'k'\nkey_env = 'K'\n"):
        with pytest.raises(
            ConfigError, match=r"dkim\[0\].key_file.*one of key_file, key_dir and key_env"
        ):
            parse(f"{one}selector = 's'\n{keys}")
    with pytest.raises(ConfigError, match="KEY isn't set"):
        read_pem(DkimKey(domain="a.example", selector="s", key_env="KEY"), {})
    absent = str(tmp_path / "absent.pem")
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        read_pem(DkimKey(domain="a.example", selector="s", key_file=absent), {})
