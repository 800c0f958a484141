"""The public SPF test suites: every case of RFC 7208's, none that hangs or raises in the older ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deliverability.dns.asking import (
    Answer,
    MxRecord,
    Outcome,
    Question,
    Record,
    RecordType,
    run,
)
from deliverability.policy.spf import SpfResult, check_host

_READ: dict[str, Any] = {
    "A": str,
    "AAAA": str,
    "PTR": str,
    "CNAME": str,
    "MX": lambda value: MxRecord(value[0], value[1].lower().removesuffix(".")),
    "TXT": lambda value: "".join([value] if isinstance(value, str) else value).encode("latin-1"),
}


class SuiteZone:
    """Zone data as pyspf's suites have them; an SPF record stands for a TXT unless one is given."""

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self._data = {name.lower(): entries for name, entries in data.items()}

    def answer(self, question: Question) -> Answer:
        name = question.name
        for _ in range(8):
            entries = self._data.get(name)
            if entries is None:
                return Answer(Outcome.NXDOMAIN)
            found = self._records(entries, question.kind)
            if found:
                return Answer(Outcome.FOUND, tuple(found), 300, name)
            if "TIMEOUT" in entries:
                return Answer(Outcome.TIMEOUT)
            alias = self._records(entries, RecordType.CNAME)
            if not alias:
                return Answer(Outcome.NO_DATA)
            name = str(alias[0]).lower()
        return Answer(Outcome.SERVFAIL)

    def _records(self, entries: list[Any], kind: RecordType) -> list[Record]:
        held = [entry for entry in entries if isinstance(entry, dict)]
        wanted = [entry[kind] for entry in held if kind in entry]
        if kind is RecordType.TXT and not wanted:
            wanted = [entry["SPF"] for entry in held if "SPF" in entry]
        return [_READ[kind](value) for value in wanted if value != "NONE"]


def _cases(file: Path) -> Iterator[tuple[str, dict[str, Any], SuiteZone]]:
    for scenario in json.loads(file.read_text("utf-8")):
        zone = SuiteZone(scenario["zonedata"])
        for name, case in scenario["tests"].items():
            yield f"{scenario['description']}: {name}", case, zone


def _result(case: dict[str, Any], zone: SuiteZone) -> SpfResult:
    sender = case.get("mailfrom", "")
    domain = sender.rpartition("@")[2] or case["helo"]
    asking = check_host(case["host"], domain, sender or f"postmaster@{domain}", case["helo"])
    return run(asking, zone.answer).result


def test_every_case_of_rfc_7208(shared: Path) -> None:
    """The suite of the SPF project gives what it says, case by case."""
    file = shared / "corpora/auth-vectors/spf/rfc7208-tests.json"
    wrong = []
    for name, case, zone in _cases(file):
        wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
        got = _result(case, zone)
        if got not in wanted:
            wrong.append(f"{name}: {got}, not {wanted}")
    assert wrong == []


@pytest.mark.parametrize("file", ["rfc4408-tests.json", "pyspf-test.json"])
def test_older_suites_are_survived(shared: Path, file: str) -> None:
    """Suites that follow other rules end in a result, whatever it is."""
    results = [
        _result(case, zone) for _, case, zone in _cases(shared / "corpora/auth-vectors/spf" / file)
    ]
    assert results
    assert set(results) <= set(SpfResult)
