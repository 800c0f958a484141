"""`veredus init`: a commented configuration, with a DKIM key, a secret and an API key of its own."""

from __future__ import annotations

__all__ = ("app",)

import base64
import os
import secrets
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.options import AsJson, new_app
from actors.cli.output import print_json, print_line
from actors.gateway.keys import hash_key
from engine.config import parse
from engine.errors import InputError, Place, RefusedError

app = new_app("Write a commented configuration with keys and secrets.")

CONFIG_NAME = "veredus.toml"
_SECRET_BYTES = 32
_RSA_BITS = 2048
EXAMPLE_TEMPLATE = ("welcome.toml", "welcome.html", "welcome.txt")


class Made(msgspec.Struct, frozen=True):
    """What was made. The API key is nowhere else."""

    config: str
    files: list[str]
    api_key: str
    dkim_name: str
    dkim_record: str


class NewKey(msgspec.Struct, frozen=True):
    """An API key, and the hash that goes into the configuration."""

    api_key: str
    hash: str


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if need be.")] = Path(),
    domain: Annotated[str, typer.Option(help="The From domain.")] = "shop.example",
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")] = "default",
    selector: Annotated[str, typer.Option(help="Of the DKIM key.")] = "veredus1",
    new_key: Annotated[
        bool,
        typer.Option("--new-key", help="Only make another API key and print it with its hash."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write DIR/veredus.toml, DIR/keys/ and a first scenario with its template. Never overwrites anything."""
    api_key = f"veredus_{secrets.token_urlsafe(32)}"
    if new_key:
        made = NewKey(api_key, hash_key(api_key))
        if as_json:
            print_json(made)
        else:
            print_line(f"API key (shown only now): {made.api_key}\nIts hash: {made.hash}")
        return
    done = _make(folder, domain, tenant, selector, api_key)
    if as_json:
        print_json(done)
    else:
        _tell(folder, done)


def _make(folder: Path, domain: str, tenant: str, selector: str, api_key: str) -> Made:
    text = _config_text(domain, tenant, selector, hash_key(api_key))
    _check(text)
    private, record = _dkim_key()
    keys = folder / "keys"
    contents = {
        folder / CONFIG_NAME: text.encode(),
        keys / f"{selector}.pem": private,
        keys / f"{selector}.dns.txt": f"{selector}._domainkey.{domain}. TXT {record}\n".encode(),
        keys / "secret": base64.b64encode(secrets.token_bytes(_SECRET_BYTES)) + b"\n",
        keys / ".gitignore": b"*\n",
        folder / "scenarios" / "welcome.yaml": _example("welcome.yaml"),
        **{folder / "templates" / name: _example(name) for name in EXAMPLE_TEMPLATE},
    }
    _write(contents)
    return Made(
        config=str(folder / CONFIG_NAME),
        files=[str(file) for file in contents],
        api_key=api_key,
        dkim_name=f"{selector}._domainkey.{domain}",
        dkim_record=record,
    )


def _example(name: str) -> bytes:
    """Give a file of the first scenario, so that the first event already sends a mail."""
    return files("actors.cli").joinpath("init_example", name).read_bytes()


def _config_text(domain: str, tenant: str, selector: str, key_hash: str) -> str:
    text = files("actors.cli").joinpath("init_template.toml").read_text("utf-8")
    values = {
        "@TENANT@": tenant,
        "@SELECTOR@": selector,
        "@KEY_HASH@": key_hash,
        "@DATE@": datetime.now(UTC).date().isoformat(),
        "@DOMAIN@": domain,
    }
    for hole, value in values.items():
        if not value or not all(
            char.isascii() and (char.isalnum() or char in "-._:") for char in value
        ):
            option = f"--{hole.strip('@').lower()}"
            raise InputError(
                f"expected letters, digits, - and ., got {value!r}", Place(path=option)
            )
        text = text.replace(hole, value)
    return text


def _check(text: str) -> None:
    """Refuse options that would make a configuration which doesn't load, before anything is written."""
    parse(text, CONFIG_NAME)


def _dkim_key() -> tuple[bytes, str]:
    """Make an RSA key of 2048 bits: private as PEM, public as the DNS record. RFC 6376 §3.6.1, RFC 8301 §3.2."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


def _write(contents: dict[Path, bytes]) -> None:
    """Write new files, readable by their owner alone; none at all when one of them is there already."""
    for file in contents:
        if file.exists() or file.is_symlink():
            raise _exists(file)
    for file, content in contents.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(
                os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as made:
                made.write(content)
        except FileExistsError:
            raise _exists(file) from None
        except OSError as error:
            raise InputError(f"can't be written: {error.strerror}", Place(file=str(file))) from None


def _exists(file: Path) -> RefusedError:
    mend = "name another DIR, or move it away"
    return RefusedError("exists already, and nothing is overwritten", Place(file=str(file)), mend)


def _tell(folder: Path, done: Made) -> None:
    print_line(f"Wrote {', '.join(done.files)}")
    print_line(f"API key (shown only now, its hash is in {done.config}): {done.api_key}")
    print_line(f"Before real mail leaves, publish {done.dkim_name} (see {done.files[2]}).")
    where = "" if folder == Path() else f" --config {done.config}"
    print_line(f"Next: veredus up{where}")
