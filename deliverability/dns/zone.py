"""A zone out of a file, that answers as DNS would: for tests, and to see what a record would do before it is published.

TOML, a table for each name; an address as a name stands for its reverse name:

    ["shop.example"]
    MX = ["10 mx1.shop.example"]
    TXT = ["v=spf1 ip4:192.0.2.0/24 -all"]
    ["192.0.2.1"]
    PTR = ["mail.shop.example"]
    ["broken.example"]
    fail = "servfail"          # or timeout, bogus, nxdomain; for one type: fail = { TXT = "timeout" }

`ttl` (seconds) may stand in each table. `*` as the first label is a wildcard (RFC 4592).
"""

from __future__ import annotations

__all__ = ("Zone", "parse_zone")

import tomllib
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from deliverability.dns.asking import (
    Answer,
    MxRecord,
    Outcome,
    Question,
    Record,
    RecordType,
    TlsaRecord,
)
from deliverability.dns.names import ancestors, query_name, reverse_name
from engine.errors import InputError, Place

_CNAMES_MAX = 8
_TTL_S = 300
_FAILURES = {
    "servfail": Outcome.SERVFAIL,
    "timeout": Outcome.TIMEOUT,
    "bogus": Outcome.BOGUS,
    "nxdomain": Outcome.NXDOMAIN,
}


class Zone:
    """Records and failures by name and type. `answer` is a `Lookup`."""

    def __init__(
        self,
        records: Mapping[str, Mapping[RecordType, tuple[Record, ...]]],
        failures: Mapping[tuple[str, RecordType], Outcome] | None = None,
        ttls: Mapping[str, int] | None = None,
    ) -> None:
        self._records = records
        self._failures = failures or {}
        self._ttls = ttls or {}
        self._exists = {above for name in records for above in ancestors(name)}

    def answer(self, question: Question) -> Answer:
        """Answer as a resolver would, CNAMEs followed."""
        name = question.name
        for _ in range(_CNAMES_MAX):
            failure = self._failures.get((name, question.kind))
            if failure is not None:
                return Answer(failure, ttl_s=_TTL_S, canonical=name)
            held = self._held(name)
            if held is None:
                outcome = Outcome.NO_DATA if name in self._exists else Outcome.NXDOMAIN
                return Answer(outcome, ttl_s=_TTL_S, canonical=name)
            ttl_s = self._ttls.get(name, _TTL_S)
            if held.get(question.kind):
                return Answer(Outcome.FOUND, held[question.kind], ttl_s, name)
            alias = held.get(RecordType.CNAME)
            if not alias:
                return Answer(Outcome.NO_DATA, ttl_s=ttl_s, canonical=name)
            name = str(alias[0])
        return Answer(Outcome.SERVFAIL)

    def _held(self, name: str) -> Mapping[RecordType, tuple[Record, ...]] | None:
        """The records of a name, or of the wildcard that stands for it."""
        if name in self._records:
            return self._records[name]
        for above in ancestors(name)[1:]:
            wildcard = self._records.get(f"*.{above}")
            if wildcard is not None:
                return wildcard
            if above in self._exists:
                return None
        return None


def parse_zone(text: str, file: str = "") -> Zone:
    """Read a zone.

    Raises:
        InputError: with file, name and type of the first mistake.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", Place(file=file)) from None
    records: dict[str, dict[RecordType, tuple[Record, ...]]] = {}
    failures: dict[tuple[str, RecordType], Outcome] = {}
    ttls: dict[str, int] = {}
    for raw_name, table in tables.items():
        place = Place(file=file, path=raw_name)
        if not isinstance(table, dict):
            raise InputError('a table is expected: ["name"] and records below it', place)
        name = _name(raw_name, place)
        held = records.setdefault(name, {})
        for key, value in table.items():
            here = Place(file=file, path=f"{raw_name}.{key}")
            if key == "fail":
                failures |= {(name, kind): outcome for kind, outcome in _failures(value, here)}
            elif key == "ttl" and isinstance(value, int):
                ttls[name] = value
            else:
                held[_kind(key, here)] = _records(_kind(key, here), value, here)
    return Zone(records, failures, ttls)


def _name(text: str, place: Place) -> str:
    try:
        return reverse_name(text)
    except ValueError:
        name = query_name(text)
    if not name:
        raise InputError("a domain name or an IP address is expected", place)
    return name


def _kind(text: str, place: Place) -> RecordType:
    try:
        return RecordType(text)
    except ValueError:
        known = ", ".join(RecordType)
        raise InputError(f"no such type of record; known are {known}", place) from None


def _failures(value: object, place: Place) -> list[tuple[RecordType, Outcome]]:
    named = value if isinstance(value, dict) else dict.fromkeys(RecordType, value)
    result = []
    for kind, word in named.items():
        if word not in _FAILURES:
            raise InputError(f"expected one of {', '.join(_FAILURES)}, got {word!r}", place)
        result.append((_kind(kind, place), _FAILURES[word]))
    return result


def _records(kind: RecordType, value: object, place: Place) -> tuple[Record, ...]:
    values = value if isinstance(value, list) else [value]
    records: list[Record] = []
    for one in values:
        if not isinstance(one, str):
            raise InputError(f"text is expected, got {one!r}", place)
        try:
            records.append(_READ[kind](one))
        except (ValueError, TypeError):
            raise InputError(f"not the data of {kind}: {one!r}", place, _FORMS[kind]) from None
    return tuple(records)


def _host(text: str) -> str:
    name = query_name(text.strip())
    if not name:
        raise ValueError(text)
    return name


def _address(version: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        address = ip_address(text.strip())
        if address.version != version:
            raise ValueError(text)
        return str(address)

    return read


def _exchange(text: str) -> MxRecord:
    preference, host = text.split()
    return MxRecord(int(preference), "" if host == "." else _host(host))


def _association(text: str) -> TlsaRecord:
    usage, selector, matching, data = text.split()
    return TlsaRecord(int(usage), int(selector), int(matching), bytes.fromhex(data))


_READ: Mapping[RecordType, Callable[[str], Any]] = {
    RecordType.A: _address(4),
    RecordType.AAAA: _address(6),
    RecordType.CNAME: _host,
    RecordType.MX: _exchange,
    RecordType.PTR: _host,
    RecordType.SOA: _host,
    RecordType.TLSA: _association,
    RecordType.TXT: str.encode,
}
_FORMS: Mapping[RecordType, str] = {
    RecordType.A: 'such as "192.0.2.1"',
    RecordType.AAAA: 'such as "2001:db8::1"',
    RecordType.CNAME: "a name",
    RecordType.MX: 'such as "10 mx.shop.example", or "0 ." for a null MX',
    RecordType.PTR: "a name",
    RecordType.SOA: "the name of the primary server",
    RecordType.TLSA: 'such as "3 1 1 ab12…"',
    RecordType.TXT: "text",
}
