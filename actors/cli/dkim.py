"""`veredus dkim`: make keys, show their records, compare them with DNS, change one for another.

Exit status: 0 all is well, 1 a record doesn't fit or a rotation waits for DNS, 2 a mistake of the user.
"""

from __future__ import annotations

__all__ = ("app",)

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from actors.cli.options import AsJson, new_app
from actors.cli.output import print_json, print_line
from engine.errors import InputError, Place, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deliverability.dkim.keys import Algorithm, SigningKey
    from deliverability.policy.rotation import Rotation, Step
    from engine.config import Config, DkimKey

app = new_app("Make DKIM keys, show and check their records, rotate them.")

_Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Default: ./veredus.toml.")
]
_Dns = Annotated[
    Path | None,
    typer.Option("--dns", metavar="FILE", help="A zone in TOML that answers in place of DNS."),
]
_Kind = Annotated[Literal["rsa", "ed25519"], typer.Option("--algorithm", help="Of the new key.")]
_Bits = Annotated[int, typer.Option(help="Of an RSA key: 2048, 3072 or 4096.")]


class Shown(msgspec.Struct, frozen=True):
    """A key and the record to publish; `strings` are its pieces of at most 255 octets."""

    domain: str
    selector: str
    algorithm: str
    bits: int
    name: str
    record: str
    strings: tuple[str, ...]
    key_file: str


class Checked(msgspec.Struct, frozen=True):
    """Whether DNS shows a key; `why_not` "" when it does."""

    name: str
    key_file: str
    matches: bool
    why_not: str


class Rotated(msgspec.Struct, frozen=True):
    """A rotation, whether this call moved it, and what there is to do."""

    rotation: Rotation
    moved: bool
    todo: str
    publish: Shown


@app.command()
def keygen(
    domain: Annotated[str, typer.Argument(help="The d= of the signature.")],
    selector: Annotated[str, typer.Argument(help="The s= of the signature.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: keys/SELECTOR.pem.")
    ] = None,
    algorithm: _Kind = "rsa",
    bits: _Bits = 2048,
    as_json: AsJson = False,
) -> None:
    """Write a private key, readable by you alone, and print its record. Never overwrites."""
    file = out or Path("keys") / f"{selector}.pem"
    key = _make(domain, selector, file, algorithm, bits)
    shown = _shown(key, str(file))
    if as_json:
        print_json(shown)
        return
    print_line(f"Wrote {file}. Publish:")
    _print_record(shown)


@app.command()
def dns(
    domain: Annotated[str, typer.Argument(help="Default: all keys of the configuration.")] = "",
    selector: Annotated[str, typer.Argument()] = "",
    key_file: Annotated[str, typer.Argument(metavar="FILE")] = "",
    config: _Config = None,
    as_json: AsJson = False,
) -> None:
    """Print the records to publish, as lines of a zone file."""
    shown = [_shown(key, file) for key, file in _chosen(domain, selector, key_file, config)]
    if as_json:
        print_json(shown)
        return
    for one in shown:
        _print_record(one)


@app.command()
def check(
    domain: Annotated[str, typer.Argument(help="Default: all keys of the configuration.")] = "",
    selector: Annotated[str, typer.Argument()] = "",
    key_file: Annotated[str, typer.Argument(metavar="FILE")] = "",
    config: _Config = None,
    zone: _Dns = None,
    as_json: AsJson = False,
) -> None:
    """Compare what DNS shows now with the keys. Exit status 1 when one differs."""
    from deliverability.dkim.keys import dns_name

    results = []
    for key, file in _chosen(domain, selector, key_file, config):
        why_not = _why_not(key, zone)
        results.append(Checked(dns_name(key), file, not why_not, why_not))
    if as_json:
        print_json(results)
    else:
        for one in results:
            print_line(
                f"✓ {one.name} is that of {one.key_file}" if one.matches else f"✗ {one.why_not}"
            )
    if not all(one.matches for one in results):
        raise typer.Exit(1)


@app.command()
def rotate(
    domain: Annotated[str, typer.Argument(help="Whose key is changed.")],
    selector: Annotated[
        str, typer.Option(metavar="NAME", help="Of the new key. Default: the next number.")
    ] = "",
    old: Annotated[
        str,
        typer.Option(metavar="NAME", help="The selector to replace, if the domain has several."),
    ] = "",
    algorithm: _Kind = "rsa",
    bits: _Bits = 2048,
    config: _Config = None,
    zone: _Dns = None,
    as_json: AsJson = False,
) -> None:
    """Go one step further: make and print a new key; switch once DNS shows it; say when the old one may go.

    Run it again until it says so. It never switches to a key that DNS doesn't show. Exit status 1 while it waits.
    """
    loaded = _config(config)
    now = time.time_ns() // 1_000_000
    rotation = _rotation_under_way(loaded, domain)
    if rotation is None:
        rotation = _begun(loaded, domain, old, selector, algorithm, bits, now)
    step, key = _advanced(loaded, rotation, zone, now)
    shown = _shown(key, step.rotation.new_key_file)
    if as_json:
        print_json(Rotated(step.rotation, step.moved, step.todo, shown))
    else:
        _tell_step(step, shown)
    if step.rotation.phase == "published":
        raise typer.Exit(1)


def _rotation_under_way(config: Config, domain: str) -> Rotation | None:
    """The newest rotation of a domain that isn't done."""
    from actors.dkim_state import read_rotations
    from deliverability.policy.rotation import Phase

    held = [one for one in read_rotations(Path(config.data_dir)) if one.domain == domain]
    return next((one for one in reversed(held) if one.phase is not Phase.RETIRED), None)


def _begun(
    config: Config, domain: str, old: str, selector: str, algorithm: str, bits: int, now: int
) -> Rotation:
    """Make the new key and keep the rotation, before anything is asked."""
    from actors.dkim_state import write_rotation
    from deliverability.policy.rotation import begin, next_selector

    keys = [
        key for key in _configured(config) if key.domain == domain and old in ("", key.selector)
    ]
    if len(keys) != 1:
        have = ", ".join(f"{key.selector}._domainkey.{key.domain}" for key in _configured(config))
        what = "no such key" if not keys else "several keys"
        mend = f"name one with --old; there are {have}" if have else "add [[tenant.dkim]]"
        raise InputError(f"{what} of {domain} in the configuration", Place(path="DOMAIN"), mend)
    current = keys[0]
    if current.key_env:
        mend = f"set another ${current.key_env} and selector, once DNS shows the new key"
        raise InputError("a key from the environment is changed there", Place(path="DOMAIN"), mend)
    taken = {key.selector for key in _configured(config)}
    name = selector or next_selector(current.selector, taken)
    file = Path(current.key_file).with_name(f"{name}.pem").absolute()
    rotation = begin(domain, current.selector, name, str(file), now)
    if name in taken:
        raise InputError(f"{name} is in use already", Place(path="--selector"), "name another")
    _make(domain, name, file, algorithm, bits)
    write_rotation(Path(config.data_dir), rotation)
    return rotation


def _advanced(
    config: Config, rotation: Rotation, zone: Path | None, now: int
) -> tuple[Step, SigningKey]:
    from actors.dkim_state import write_rotation
    from deliverability.policy.rotation import advance

    key = _load(rotation.domain, rotation.new_selector, rotation.new_key_file)
    step = advance(rotation, _why_not(key, zone), now)
    if step.moved:
        write_rotation(Path(config.data_dir), step.rotation)
    return step, key


def _tell_step(step: Step, shown: Shown) -> None:
    rotation = step.rotation
    print_line(
        f"{rotation.domain}: {rotation.old_selector} → {rotation.new_selector}, {rotation.phase}"
        + (" now" if step.moved else "")
    )
    if rotation.phase == "published":
        _print_record(shown)
    print_line(f"Next: {step.todo}")


def _chosen(
    domain: str, selector: str, key_file: str, config: Path | None
) -> list[tuple[SigningKey, str]]:
    """The key that is named whole, or those of the configuration that fit, rotations counted in."""
    if key_file:
        return [(_load(domain, selector, key_file), key_file)]
    held = [
        key
        for key in _configured(_config(config))
        if domain in ("", key.domain) and selector in ("", key.selector)
    ]
    if not held:
        mend = "name DOMAIN SELECTOR FILE, or add [[tenant.dkim]]"
        raise InputError("the configuration has no such DKIM key", Place(path="DOMAIN"), mend)
    return [_loaded(key) for key in held]


def _loaded(key: DkimKey) -> tuple[SigningKey, str]:
    """Load a key of the configuration. Returns: it, and where it comes from."""
    from actors.dkim_state import read_pem
    from deliverability.dkim.keys import load_key

    origin = key.key_file or f"${key.key_env}"
    return load_key(read_pem(key, os.environ), key.domain, key.selector, origin), origin


def _configured(config: Config) -> Sequence[DkimKey]:
    from actors.dkim_state import signing_keys

    keys = [*(key for tenant in config.tenant for key in tenant.dkim), *config.delivery.dkim]
    return signing_keys(config, keys)


def _config(file: Path | None) -> Config:
    from actors.config_file import load

    return load(file, os.environ)


def _why_not(key: SigningKey, zone: Path | None) -> str:
    from actors.cli.lookups import answered
    from deliverability.policy.dkim_record import compare, find_key

    return compare(answered(find_key(key.selector, key.domain), zone), key)


def _load(domain: str, selector: str, file: str) -> SigningKey:
    from deliverability.dkim.keys import load_key

    try:
        return load_key(Path(file).read_bytes(), domain, selector, file)
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Place(file=file)) from None


def _make(domain: str, selector: str, file: Path, algorithm: str, bits: int) -> SigningKey:
    """Make a key; its file is readable by its owner alone, and new. RFC 6376 §8.4."""
    from deliverability.dkim.keys import generate_pem, load_key

    kind: Algorithm = "rsa-sha256" if algorithm == "rsa" else "ed25519-sha256"
    pem = generate_pem(kind, bits)
    key = load_key(pem, domain, selector, str(file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
            made.write(pem)
            made.flush()
            os.fsync(made.fileno())
    except FileExistsError:
        mend = "name another file with --out, or move it away"
        raise RefusedError(
            "exists already, and nothing is overwritten", Place(file=str(file)), mend
        ) from None
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Place(file=str(file))) from None
    return key


def _shown(key: SigningKey, file: str) -> Shown:
    from deliverability.dkim.keys import dns_name, dns_record, dns_strings

    return Shown(
        key.domain,
        key.selector,
        key.algorithm,
        key.bits,
        dns_name(key),
        dns_record(key),
        dns_strings(key),
        file,
    )


def _print_record(shown: Shown) -> None:
    pieces = " ".join(f'"{piece}"' for piece in shown.strings)
    print_line(f"{shown.name}. IN TXT ( {pieces} )")
