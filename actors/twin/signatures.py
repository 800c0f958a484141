"""DKIM verdicts by dkimpy, which shares nothing with the implementation that signs. RFC 6376 §6.

Keys come from a look-up that the caller gives, never from DNS: from `<selector>._domainkey.<domain>` to the text of
the TXT record.
"""

from __future__ import annotations

__all__ = ("KeyLookup", "SignatureVerdict", "Verdict", "keys_in", "verify")

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

KeyLookup: TypeAlias = Callable[[str], bytes | None]
"""Gives the text of a TXT record by its name, without trailing dot; None where there is none."""

Verdict = Literal["none", "pass", "fail", "unknown"]
"""No signature; all that could be verified are good; one is bad; none could be verified."""

SIGNATURES_MAX = 10
"""Signatures looked at in one mail; each costs 10 ms or so."""
_KEY_OCTETS_MAX = 65_536
_KEY_FILES_MAX = 1000
_RECORD = re.compile(
    rb"^([A-Za-z0-9_.-]{1,253}?)\.?[ \t]+(?:IN[ \t]+)?TXT[ \t]+(\S[^\r\n]*)", re.MULTILINE
)
_FIELD = re.compile(
    rb"^dkim-signature[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE
)


class SignatureVerdict(msgspec.Struct, frozen=True):
    """What became of one signature, with the reason where it isn't good."""

    verdict: Verdict
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    reason: str = ""


def keys_in(data: Path) -> KeyLookup:
    """Look keys up in the text files of the folder `keys` in a data directory, or else beside it.

    A line `<name> TXT <record>` gives a key, in any file whose name ends in `.txt`; `veredus init` writes such.
    """
    known: dict[str, bytes] = {}

    def look_up(name: str) -> bytes | None:
        if name not in known:
            for folder in (data.absolute().parent / "keys", data / "keys"):
                known.update(_records(folder))
        return known.get(name)

    return look_up


def _records(folder: Path) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.txt"))[:_KEY_FILES_MAX]:
        try:
            with path.open("rb") as file:
                octets = file.read(_KEY_OCTETS_MAX)
        except OSError:
            continue  # a file that can't be read holds no key; the verdict names the missing one
        for name, record in _RECORD.findall(octets):
            records[name.decode("ascii").lower()] = record.replace(b'"', b"").strip()
    return records


def verify(content: bytes, look_up: KeyLookup) -> tuple[Verdict, tuple[SignatureVerdict, ...]]:
    """Verify the signatures of a mail. Takes 10 ms or more of CPU for each."""
    end = content.find(b"\r\n\r\n")
    fields = _FIELD.findall(content[: end + 2] if end >= 0 else content)[:SIGNATURES_MAX]
    verdicts = tuple(
        _verify_one(content, number, _tags(field), look_up) for number, field in enumerate(fields)
    )
    found = {one.verdict for one in verdicts}
    if not found:
        return "none", verdicts
    if "fail" in found:
        return "fail", verdicts
    return ("pass" if "pass" in found else "unknown"), verdicts


def _tags(field: bytes) -> dict[str, str]:
    """Read the tag list of a signature loosely, to show it. RFC 6376 §3.2."""
    text = re.sub(r"\s+", "", field.decode("ascii", "replace"))
    pairs = (tag.partition("=") for tag in text.split(";"))
    return {name: value[:300] for name, _, value in pairs if name in ("d", "s", "a")}


def _verify_one(
    content: bytes, number: int, tags: dict[str, str], look_up: KeyLookup
) -> SignatureVerdict:
    import dkim

    shown = (tags.get("d", ""), tags.get("s", ""), tags.get("a", ""))
    missing: list[str] = []

    def txt(name: bytes | str, timeout: int = 5) -> bytes | None:  # noqa: ARG001
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        record = look_up(text.rstrip(".").lower())
        if record is None:
            missing.append(text.rstrip("."))
        return record

    try:
        good = dkim.DKIM(content).verify(idx=number, dnsfunc=txt)
    except ImportError as error:
        return SignatureVerdict("unknown", *shown, f"can't be verified here: {error}")
    except Exception as error:  # noqa: BLE001  # dkimpy raises all sorts of things on hostile mail
        if missing:
            return SignatureVerdict("unknown", *shown, f"no public key for {missing[0]}")
        return SignatureVerdict("fail", *shown, str(error)[:300] or type(error).__name__)
    if good:
        return SignatureVerdict("pass", *shown)
    if missing:
        return SignatureVerdict("unknown", *shown, f"no public key for {missing[0]}")
    return SignatureVerdict("fail", *shown, "the signature doesn't fit the mail")
