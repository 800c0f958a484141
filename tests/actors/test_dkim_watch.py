"""DKIM keys change while an instance runs: by rotation, by a file that is replaced, by a new file in a folder."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from actors.dkim_state import read_chosen, write_chosen, write_rotation
from actors.dkim_watch import WATCH_S, KeyChooser, KeyWatch
from actors.worker.assembly import secret_of
from actors.worker.rendering import Letterhead, letterheads
from deliverability.dkim.keys import dns_record, generate_pem, load_key
from deliverability.dns.asking import Asking, run
from deliverability.dns.zone import parse_zone
from deliverability.policy.dkim_record import Published
from deliverability.policy.rotation import Phase, Rotation
from engine.config import Config, parse
from engine.errors import ConfigError, TransportError
from engine.store.control_file import ControlFile

NOW = 1_800_000_000_000
CONFIG = """
data_dir = "{folder}/data"
[delivery]
mode = "{mode}"
allow = "any"
ehlo_name = "mx.shop.example"
relay.host = "mx.example"
[[tenant]]
from_domains = ["shop.example"]
[[tenant.dkim]]
domain = "shop.example"
{key}
"""


def made(folder: Path, key: str, mode: str = "relay") -> Config:
    """A configuration over a folder for keys."""
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    return parse(CONFIG.format(folder=folder, mode=mode, key=key))


def put(folder: Path, selector: str, age: int = 0) -> str:
    """Write a key, `age` seconds old. Returns its record."""
    file = folder / "keys" / f"{selector}.pem"
    pem = generate_pem("ed25519-sha256")
    file.write_bytes(pem)
    os.utime(file, ns=(10**18 - age * 10**9, 10**18 - age * 10**9))
    return dns_record(load_key(pem, "shop.example", selector))


def selectors(heads: dict[str, Letterhead]) -> list[str]:
    return [key.selector for key in heads["default"].keys]


class Watched:
    """A process that sends: its heads, its watch, its clock."""

    def __init__(self, config: Config) -> None:
        self.time = 0.0
        self.heads = dict(letterheads(config, secret_of))
        self.keys = self.heads["default"].keys
        self.watch = KeyWatch(config, self.heads, lambda: self.time)

    def look(self) -> list[str]:
        """Look once its time has come."""
        self.time += WATCH_S
        self.watch.look()
        assert self.heads["default"].keys is self.keys  # whoever holds the list sees the change
        return selectors(self.heads)


def chooser(config: Config, records: dict[str, str]) -> KeyChooser:
    """One whose DNS shows these records, by selector; a record of None can't be asked for."""

    async def ask(asking: Asking[Published]) -> Published:
        if "unreachable" in records:
            raise TransportError("resolve", "no resolver", "")
        zone = "".join(
            f'["{selector}._domainkey.shop.example"]\nTXT = "{record}"\n'
            for selector, record in records.items()
        )
        return run(asking, parse_zone(zone or '["a.example"]\nA = "192.0.2.1"\n').answer)

    return KeyChooser(config, ask, lambda: NOW)


def look(one: KeyChooser) -> None:
    asyncio.run(one.look())


def test_a_new_key_signs_once_dns_shows_it(tmp_path: Path) -> None:
    """Not before; on record; and every sender takes it without a restart."""
    config = made(tmp_path, f'key_dir = "{tmp_path}/keys"')
    records = {"s1": put(tmp_path, "s1", age=100)}
    choose = chooser(config, records)
    look(choose)
    sender = Watched(config)
    assert selectors(sender.heads) == ["s1"]
    record = put(tmp_path, "s2")
    look(choose)
    assert sender.look() == ["s1"]
    records["s2"] = record
    look(choose)
    assert sender.look() == ["s2"]
    changes = [one.change for one in ControlFile(tmp_path / "data" / "control.log").records()]
    assert [(one.action, one.reason) for one in changes] == [
        ("dkim_switch", "none to s1: DNS shows it"),
        ("dkim_switch", "s1 to s2: DNS shows it"),
    ]
    look(choose)
    assert len(list(ControlFile(tmp_path / "data" / "control.log").records())) == 2
    assert selectors(Watched(config).heads) == ["s2"]  # a restart knows it


def test_a_record_of_another_key_switches_nothing(tmp_path: Path) -> None:
    """Nor does DNS that can't be asked."""
    config = made(tmp_path, f'key_dir = "{tmp_path}/keys"')
    records = {"s1": put(tmp_path, "s1", age=100)}
    look(chooser(config, records))
    put(tmp_path, "s2")
    look(chooser(config, {**records, "s2": records["s1"]}))
    look(chooser(config, {"unreachable": ""}))
    assert list(read_chosen(tmp_path / "data").values()) == ["s1"]


def test_the_first_choice_is_the_newest_that_dns_shows_else_the_newest(tmp_path: Path) -> None:
    """Mail must go on with some key; which it was is kept, so that a newer file waits for DNS."""
    shown = {"s1": put(tmp_path_keys(tmp_path), "s1", age=100)}
    put(tmp_path, "s2")
    config = made(tmp_path, f'key_dir = "{tmp_path}/keys"')
    look(chooser(config, shown))
    assert list(read_chosen(tmp_path / "data").values()) == ["s1"]
    (tmp_path / "data" / "dkim.json").unlink()
    look(chooser(config, {}))
    assert list(read_chosen(tmp_path / "data").values()) == ["s2"]


def tmp_path_keys(folder: Path) -> Path:
    (folder / "keys").mkdir()
    return folder


def test_to_a_twin_the_newest_signs(tmp_path: Path) -> None:
    """Nothing leaves, so DNS isn't asked."""
    config = made(tmp_path, f'key_dir = "{tmp_path}/keys"', "twin")
    put(tmp_path, "s1", age=100)
    sender = Watched(config)
    put(tmp_path, "s2")
    assert chooser(config, {}).folders == []
    assert sender.look() == ["s2"]


def test_a_rotation_and_a_replaced_file_are_taken_at_once(tmp_path: Path) -> None:
    """`veredus dkim rotate` needs no restart; between two looks nothing is read."""
    config = made(tmp_path, f'selector = "s1"\nkey_file = "{tmp_path}/keys/s1.pem"')
    put(tmp_path, "s1")
    put(tmp_path, "s2")
    sender = Watched(config)
    file = str(tmp_path / "keys" / "s2.pem")
    write_rotation(
        tmp_path / "data",
        Rotation("shop.example", "s1", "s2", file, Phase.SWITCHED, NOW, NOW),
    )
    sender.watch.look()
    assert selectors(sender.heads) == ["s1"]
    assert sender.look() == ["s2"]
    record = put(tmp_path, "s2", age=5)
    assert dns_record(sender.keys[0]) != record
    sender.look()
    assert dns_record(sender.keys[0]) == record


def test_a_key_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    """Half a file, or none: mail goes on with the key that it had, and takes the next good one."""
    config = made(tmp_path, f'selector = "s1"\nkey_file = "{tmp_path}/keys/s1.pem"')
    put(tmp_path, "s1")
    sender = Watched(config)
    before = dns_record(sender.keys[0])
    file = tmp_path / "keys" / "s1.pem"
    file.write_bytes(file.read_bytes()[:40])
    assert sender.look() == ["s1"]
    file.unlink()
    assert sender.look() == ["s1"]
    assert dns_record(sender.keys[0]) == before
    record = put(tmp_path, "s1", age=9)
    sender.look()
    assert dns_record(sender.keys[0]) == record


def test_choices_and_rotations_keep_each_other(tmp_path: Path) -> None:
    """They share a file, and a file of before has no choices."""
    config = made(tmp_path, f'key_dir = "{tmp_path}/keys"')
    data, key = tmp_path / "data", config.tenant[0].dkim[0]
    (data / "dkim.json").write_text('{"rotations": []}')
    assert read_chosen(data) == {}
    write_chosen(data, key, "s1")
    write_rotation(data, Rotation("a.example", "s1", "s2", "f", Phase.PUBLISHED, NOW))
    write_chosen(data, key, "s2")
    assert list(read_chosen(data).values()) == ["s2"]
    assert "PUBLISHED" in (data / "dkim.json").read_text().upper()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('selector = "s1"\nkey_dir = "k"', "the names of the files in key_dir are the selectors"),
        ('key_file = "k.pem"', "a key needs the selector"),
        ('selector = "s1"\nkey_file = "k.pem"\nkey_env = "K"', "give one of key_file, key_dir"),
    ],
)
def test_a_key_comes_from_one_place(tmp_path: Path, key: str, said: str) -> None:
    """And says its selector in one way."""
    with pytest.raises(ConfigError, match=said):
        made(tmp_path, key)


def test_an_empty_folder_is_a_mistake_with_its_mend(tmp_path: Path) -> None:
    """At the start; later it changes nothing."""
    config = made(tmp_path, f'key_dir = "{tmp_path}/keys"')
    with pytest.raises(ConfigError, match=r"holds no SELECTOR\.pem") as found:
        letterheads(config, secret_of)
    assert "veredus dkim keygen shop.example s1 --out" in found.value.mend
