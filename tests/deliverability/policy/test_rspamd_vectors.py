"""rspamd's cases, end to end: SPF, DKIM and DMARC of whole messages against the zone that comes with them."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deliverability.dns.asking import MxRecord, Outcome, Record, RecordType, run
from deliverability.dns.zone import Zone
from deliverability.policy.dkim_signature import SignatureVerdict, read_signatures, verify
from deliverability.policy.dmarc import aligned, find_dmarc
from deliverability.policy.spf import SpfVerdict, check_host
from deliverability.preflight.message import author_of, read_mail

NOW = 1_500_000_000_000
_SPF = {
    "R_SPF_ALLOW": "pass",
    "R_SPF_FAIL": "fail",
    "R_SPF_PERMFAIL": "permerror",
    "R_SPF_DNSFAIL": "temperror",
    "R_SPF_NA": "none",
}
_ELSEWHERE = {
    # rspamd takes an include without a record for no match; RFC 7208 §5.2 makes it a permerror
    "x@fail3.org.org.za",
}
_BY_SUFFIX_LIST = {
    # aligned by a list of public suffixes only: nobody publishes above the author (RFC 9989 §4.10.2)
    "dmarc/onsubdomain_pass_relaxed.eml",
}


def _record(kind: RecordType, reply: Any) -> Record:
    match kind:
        case RecordType.TXT:
            return str(reply).encode()
        case RecordType.MX:
            given = reply.split() if isinstance(reply, str) else (reply["priority"], reply["name"])
            return MxRecord(int(given[0]), given[1].rstrip(".").lower())
        case _:
            return str(reply).rstrip(".")


@pytest.fixture(scope="module")
def folder() -> Path:
    found = Path(__file__).resolve().parents[4] / "shared/corpora/auth-vectors/rspamd"
    if not found.is_dir():
        pytest.skip("../shared is not beside the checkout")
    return found


@pytest.fixture(scope="module")
def zone(folder: Path) -> Zone:
    records: dict[str, dict[RecordType, tuple[Record, ...]]] = {}
    failures = {}
    for file in ("dns.json", "dns-dkim.json"):
        for entry in json.loads((folder / file).read_text("utf-8")):
            name, kind = entry["name"].lower(), entry["type"].upper()
            if kind not in RecordType.__members__:
                continue
            if entry["rcode"] in ("servfail", "timeout"):
                failures[name, RecordType(kind)] = Outcome.SERVFAIL
                continue
            held = tuple(_record(RecordType(kind), one) for one in entry["replies"] or ())
            records.setdefault(name, {})[RecordType(kind)] = held
    return Zone(records, failures)


def _spf(case: dict[str, Any], zone: Zone) -> SpfVerdict | None:
    sender = case["mail_from"] or ""
    domain = sender.rpartition("@")[2] or case["helo"] or ""
    if not case["ip"] or not domain:
        return None
    return run(check_host(case["ip"], domain, sender, case["helo"] or ""), zone.answer)


def _dmarc(
    author: str, spf: SpfVerdict | None, sender: str, dkim: list[SignatureVerdict], zone: Zone
) -> str:
    found = run(find_dmarc(author), zone.answer)
    if found.record is None:
        return "DMARC_DNSFAIL" if found.walk.failed else "DMARC_NA"
    signers = [one.signature.domain for one in dkim if one.passes]
    passes = any(run(aligned(found, one, found.record.dkim), zone.answer) for one in signers)
    if spf is not None and spf.result == "pass" and sender:
        passes = passes or run(aligned(found, sender, found.record.spf), zone.answer)
    return "DMARC_POLICY_ALLOW" if passes else f"DMARC_POLICY_{str(found.policy).upper()}"


def test_verdicts_are_theirs(folder: Path, zone: Zone) -> None:
    """Every case whose symbol speaks of SPF, DKIM or DMARC, but for two that are named above."""
    checked = 0
    wrong = []
    with tarfile.open(folder / "messages.tar.gz") as archive:
        for line in (folder / "cases.jsonl").read_text("utf-8").splitlines():
            case = json.loads(line)
            member = archive.extractfile(case["file"])
            assert member is not None
            mail = read_mail(re.sub(rb"(?<!\r)\n", b"\r\n", member.read()))
            dkim = [
                run(verify(one, mail.headers, mail.body, NOW), zone.answer)
                for one in read_signatures(mail.headers)
            ]
            spf = _spf(case, zone)
            sender = (case["mail_from"] or "").rpartition("@")[2]
            for symbol in case["expect"]:
                got = ""
                if symbol in _SPF and spf is not None and case["mail_from"] not in _ELSEWHERE:
                    got = symbol if spf.result == _SPF[symbol] else f"spf {spf.result}"
                elif symbol.startswith("DMARC_") and case["file"] not in _BY_SUFFIX_LIST:
                    got = _dmarc(author_of(mail)[2], spf, sender, dkim, zone)
                elif symbol.startswith("R_DKIM_"):
                    passes = any(one.passes for one in dkim)
                    got = symbol if passes is (symbol == "R_DKIM_ALLOW") else f"dkim {passes}"
                if got:
                    checked += 1
                    if got != symbol:
                        wrong.append((case["case"], symbol, got))
    assert wrong == []
    assert checked >= 28
