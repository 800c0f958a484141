"""`veredus init`: what it writes works, and it never overwrites."""

from __future__ import annotations

import base64
import json
import stat
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from actors.config_file import load
from actors.gateway.keys import Keys, Principal
from engine.config import parse
from engine.errors import ConfigError
from tests.actors.cli.conftest import Veredus


def test_what_it_writes_loads(veredus: Veredus, tmp_path: Path) -> None:
    """The configuration loads, its files are there for the owner alone, and the key printed is the tenant's."""
    folder = tmp_path / "shop"
    said = veredus("init", folder, "--domain", "mail.shop.example", "--json")
    assert (said.status, said.err) == (0, "")
    made = json.loads(said.out)
    config = load(folder / "veredus.toml", {})
    tenant = config.tenant[0]
    assert tenant.from_domains == ("mail.shop.example",)
    assert config.data_dir == str(folder / ".veredus")
    header = {b"authorization": f"Bearer {made['api_key']}".encode()}
    assert Keys(config).by_network(header) == Principal("default")
    assert made["api_key"] not in (folder / "veredus.toml").read_text()
    assert len(base64.b64decode(Path(tenant.secret_file).read_bytes())) == 32
    for file in made["files"]:
        assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600


def test_the_dkim_record_is_that_of_the_key(veredus: Veredus, tmp_path: Path) -> None:
    """What is to be published is the public half of the private key."""
    made = json.loads(veredus("init", tmp_path / "x", "--json").out)
    tenant = load(tmp_path / "x" / "veredus.toml", {}).tenant[0]
    key = serialization.load_pem_private_key(Path(tenant.dkim[0].key_file).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert key.key_size == 2048
    assert made["dkim_record"] == f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
    assert made["dkim_name"] == "veredus1._domainkey.shop.example"
    assert made["dkim_record"] in (tmp_path / "x" / "keys" / "veredus1.dns.txt").read_text()


@pytest.mark.parametrize("name", ["veredus.toml", "keys/secret", "keys/veredus1.pem"])
def test_nothing_is_overwritten(veredus: Veredus, tmp_path: Path, name: str) -> None:
    """One file that is there already, and nothing at all is written."""
    there = tmp_path / name
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    said = veredus("init", tmp_path)
    assert said.status == 2
    assert "exists already, and nothing is overwritten" in said.err
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [there]
    assert there.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--domain", "a b"),
        ("--domain", 'x"\ny=1'),
        ("--domain", ""),
        ("--tenant", "No"),
        ("--selector", "../x"),
        ("--domain", "UPPER.example"),
    ],
)
def test_options_that_would_not_load_are_refused(
    veredus: Veredus, tmp_path: Path, option: str, value: str
) -> None:
    """Whatever is given, either the written configuration loads or nothing is written."""
    said = veredus("init", tmp_path, option, value)
    assert said.status == 2
    assert list(tmp_path.iterdir()) == []


def test_every_commented_key_of_the_template_exists(veredus: Veredus, tmp_path: Path) -> None:
    """With all defaults and examples uncommented the configuration still loads."""
    veredus("init", tmp_path)
    text = (tmp_path / "veredus.toml").read_text()
    lines = [
        line[1:] if line.startswith("#") and line[1:2] not in (" ", "") else line
        for line in text.split("\n")
    ]
    uncommented = "\n".join(lines)
    assert len(tomllib.loads(uncommented)) > len(tomllib.loads(text))
    config = parse(uncommented, str(tmp_path / "veredus.toml"))
    assert config.streams["newsletter"].consent_topic == "newsletter"


def test_another_key(veredus: Veredus) -> None:
    """--new-key makes a key with its hash, and writes nothing."""
    made = json.loads(veredus("init", "--new-key", "--json").out)
    config = parse(f'[[tenant]]\napi_key_hashes = ["{made["hash"]}"]')
    header = {b"authorization": f"Bearer {made['api_key']}".encode()}
    assert Keys(config).by_network(header) == Principal("default")


def test_a_file_that_is_missing_or_not_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named file must be there and be UTF-8; without a name, none is needed."""
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).http.port == 8025
    with pytest.raises(
        ConfigError, match=r"x\.toml: there is no such file \(`veredus init` writes one\)"
    ):
        load(Path("x.toml"), {})
    Path("veredus.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"veredus\.toml: isn't UTF-8"):
        load(None, {})
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path, {})
