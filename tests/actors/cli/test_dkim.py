"""`veredus dkim`: keys that nobody else can read, records as zone lines, checks, and rotation to its end."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from actors.cli.main import run
from actors.dkim_state import active_keys, read_rotations, write_rotation
from deliverability.policy.rotation import Phase, Rotation
from engine.config import DkimKey
from engine.errors import InputError
from tests.actors.cli.conftest import Veredus


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, made once: an RSA key takes its time."""
    folder = tmp_path_factory.mktemp("dkim") / "shop"
    assert run(["init", str(folder), "--domain", "shop.example"]) == 0
    return folder


@pytest.fixture
def shop(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    copytree(made, tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def publish(veredus: Veredus, tmp_path: Path) -> Callable[[str], Path]:
    """Give a way to publish the record of a `veredus dkim … --json` answer."""
    file = tmp_path / "zone.toml"
    file.write_text('["shop.example"]\nA = "192.0.2.1"\n')

    def add(answer: str) -> Path:
        held = json.loads(answer)
        for one in held if isinstance(held, list) else [held.get("publish", held)]:
            text = f'["{one["name"]}"]\nTXT = "{one["record"]}"\n'
            if text not in file.read_text():
                file.write_text(file.read_text() + text)
        return file

    return add


@pytest.mark.parametrize(("algorithm", "bits"), [("rsa", 2048), ("ed25519", 256)])
def test_keygen_writes_a_key_for_its_owner_alone(
    veredus: Veredus, tmp_path: Path, algorithm: str, bits: int
) -> None:
    """Mode 0600, a record that fits, nothing overwritten."""
    file = tmp_path / "k.pem"
    command = ("dkim", "keygen", "shop.example", "s1", "--out", file, "--algorithm", algorithm)
    made = json.loads(veredus(*command, "--json").out)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (made["name"], made["bits"]) == ("s1._domainkey.shop.example", bits)
    assert "".join(made["strings"]) == made["record"]
    before = file.read_bytes()
    again = veredus(*command)
    assert again.status == 2
    assert "exists already" in again.err
    assert file.read_bytes() == before


def test_records_are_lines_of_a_zone(veredus: Veredus, shop: Path) -> None:
    """Strings of at most 255 octets, and no private key."""
    said = veredus("dkim", "dns")
    assert said.out.startswith("veredus1._domainkey.shop.example. IN TXT (")
    assert all(len(piece) <= 255 for piece in said.out.split('"')[1::2])
    assert "PRIVATE" not in said.out


def test_check_compares_with_dns(
    veredus: Veredus, shop: Path, publish: Callable[[str], Path]
) -> None:
    """Status 1 and the reason while it isn't there or another; 0 once it is."""
    empty = publish("[]")
    missing = veredus("dkim", "check", "--dns", empty)
    assert missing.status == 1
    assert "no such name" in missing.out
    zone = publish(veredus("dkim", "dns", "--json").out)
    assert veredus("dkim", "check", "--dns", zone).status == 0
    veredus("dkim", "keygen", "shop.example", "veredus1", "--out", "other.pem")
    other = veredus(
        "dkim", "check", "shop.example", "veredus1", "other.pem", "--dns", zone, "--json"
    )
    assert other.status == 1
    assert "another key" in json.loads(other.out)[0]["why_not"]


def test_rotation_switches_only_to_what_dns_shows(
    veredus: Veredus, shop: Path, publish: Callable[[str], Path]
) -> None:
    """Waits with status 1 as often as asked, switches once, then signs with the new key."""
    zone = publish(veredus("dkim", "dns", "--json").out)
    command = ("dkim", "rotate", "shop.example", "--dns", zone, "--json")
    first = veredus(*command)
    assert first.status == 1
    rotated = json.loads(first.out)
    assert (rotated["moved"], rotated["rotation"]["phase"]) == (False, "published")
    assert rotated["rotation"]["new_selector"] == "veredus2"
    waiting = veredus(*command)
    assert json.loads(waiting.out)["rotation"] == rotated["rotation"]  # the same key, not a third
    assert "veredus1._domainkey" in veredus("dkim", "dns").out
    publish(waiting.out)
    switched = veredus(*command)
    assert (switched.status, json.loads(switched.out)["moved"]) == (0, True)
    assert "veredus2._domainkey" in veredus("dkim", "dns").out
    assert veredus("dkim", "check", "--dns", zone).status == 0
    kept = json.loads(veredus(*command).out)
    assert (kept["moved"], "more days" in kept["todo"]) == (False, True)
    file = Path(rotated["rotation"]["new_key_file"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_mistakes_are_told(veredus: Veredus, shop: Path) -> None:
    """An unknown domain, a selector in use, a file that isn't a key."""
    assert "there are veredus1._domainkey" in veredus("dkim", "rotate", "other.example").err
    used = veredus("dkim", "rotate", "shop.example", "--selector", "veredus1")
    assert used.status == 2
    assert "in use already" in used.err
    (shop / "x.pem").write_text("nothing")
    assert "not a private key" in veredus("dkim", "check", "shop.example", "s1", "x.pem").err
    assert "can't be read" in veredus("dkim", "dns", "shop.example", "s1", "none.pem").err


def test_rotations_decide_which_key_signs(tmp_path: Path) -> None:
    """Switched ones follow each other; one that waits changes nothing; a broken file is refused."""
    key = DkimKey(domain="shop.example", selector="s1", key_file="s1.pem")
    one = Rotation("shop.example", "s1", "s2", "s2.pem", Phase.RETIRED, 0)
    two = Rotation("shop.example", "s2", "s3", "s3.pem", Phase.SWITCHED, 0)
    three = Rotation("shop.example", "s3", "s4", "s4.pem", Phase.PUBLISHED, 0)
    for rotation in (one, two, three):
        write_rotation(tmp_path, rotation)
    held = read_rotations(tmp_path)
    assert held == (one, two, three)
    assert [one.selector for one in active_keys([key], held)] == ["s3"]
    (tmp_path / "dkim.json").write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        read_rotations(tmp_path)
