"""DMARC: the tree walk of RFC 9989 with its examples, policies below a domain, alignment, and public cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deliverability.dns.asking import Answer, Outcome, Question, RecordType, run
from deliverability.dns.zone import Zone, parse_zone
from deliverability.policy.dmarc import (
    DmarcFound,
    aligned,
    find_dmarc,
    organisational_domain,
    walk,
)
from deliverability.policy.dmarc_record import Alignment

ZONE = parse_zone(
    """
["_dmarc.shop.example"]
TXT = "v=DMARC1; p=reject; sp=quarantine; np=none"
["news.shop.example"]
A = "192.0.2.1"
["_dmarc.bank.example"]
TXT = "v=DMARC1; p=reject; psd=y"
["_dmarc.giant.bank.example"]
TXT = "v=DMARC1; p=none"
["_dmarc.own.shop.example"]
TXT = "v=DMARC1; p=none; psd=n"
["_dmarc.test.example"]
TXT = "v=DMARC1; p=reject; t=y"
["_dmarc.a.b.c.d.e.f.g.h.i.mail.long.example"]
TXT = "v=DMARC1; p=none"
["_dmarc.long.example"]
TXT = "v=DMARC1; p=quarantine"
["_dmarc.broken.example"]
fail = "servfail"
"""
)


def find(domain: str, zone: Zone = ZONE) -> DmarcFound:
    return run(find_dmarc(domain), zone.answer)


@pytest.mark.parametrize(
    ("domain", "organisation"),
    [
        ("shop.example", "shop.example"),
        ("news.shop.example", "shop.example"),
        ("own.shop.example", "own.shop.example"),  # psd=n says so
        ("x.own.shop.example", "own.shop.example"),
        ("giant.bank.example", "giant.bank.example"),
        ("mail.giant.bank.example", "giant.bank.example"),
        ("mail.mega.bank.example", "mega.bank.example"),  # one below the public suffix
        ("bank.example", "bank.example"),
        ("nobody.example", "nobody.example"),
        ("a.b.c.d.e.f.g.h.i.mail.long.example", "long.example"),
    ],
)
def test_organisational_domains(domain: str, organisation: str) -> None:
    """RFC 9989 §4.10.2."""
    assert run(organisational_domain(domain), ZONE.answer) == organisation


def test_long_names_skip_to_seven_labels() -> None:
    """§4.10 step 4: at most eight look-ups."""
    asked: list[str] = []

    def answer(question: Question) -> Answer:
        asked.append(question.name)
        return Answer(Outcome.NXDOMAIN)

    run(walk("a.b.c.d.e.f.g.h.i.j.mail.example.com"), answer)
    assert asked[0] == "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com"
    assert asked[1] == "_dmarc.g.h.i.j.mail.example.com"
    assert len(asked) == 8


@pytest.mark.parametrize(
    ("domain", "policy", "published_at"),
    [
        ("shop.example", "reject", "shop.example"),
        ("news.shop.example", "quarantine", "shop.example"),
        ("ghost.shop.example", "none", "shop.example"),  # doesn't exist: np=
        ("test.example", "quarantine", "test.example"),  # t=y: one step lower
        ("mega.bank.example", "reject", "bank.example"),
    ],
)
def test_which_policy_counts(domain: str, policy: str, published_at: str) -> None:
    """§4.7, §4.10.1."""
    found = find(domain)
    assert (found.policy, found.published_at) == (policy, published_at)


def test_no_record_and_no_answer_are_different() -> None:
    """A server that fails isn't a domain without a policy."""
    assert find("nobody.example").walk.failed == {}
    assert find("broken.example").walk.failed == {"broken.example": Outcome.SERVFAIL}


@pytest.mark.parametrize(
    ("author", "domain", "mode", "aligns"),
    [
        ("news.shop.example", "shop.example", Alignment.RELAXED, True),
        ("news.shop.example", "bounce.shop.example", Alignment.RELAXED, True),
        ("news.shop.example", "shop.example", Alignment.STRICT, False),
        ("news.shop.example", "News.Shop.Example.", Alignment.STRICT, True),
        ("news.shop.example", "own.shop.example", Alignment.RELAXED, False),
        ("one.example", "two.example", Alignment.RELAXED, False),
        ("mega.bank.example", "giant.bank.example", Alignment.RELAXED, False),
    ],
)
def test_alignment(author: str, domain: str, mode: Alignment, aligns: bool) -> None:
    """Relaxed: of one organisation; strict: the same."""
    assert run(aligned(find(author), domain, mode), ZONE.answer) is aligns


def _zone(data: dict[str, Any]) -> Zone:
    texts = {}
    failures = {}
    for name, entry in data.items():
        if "error" in entry:
            failures[name, RecordType.TXT] = Outcome.TIMEOUT
        else:
            texts[name] = {RecordType.TXT: tuple("".join(parts).encode() for parts in entry["TXT"])}
    return Zone(texts, failures)


def test_the_public_cases(shared: Path) -> None:
    """mailauth's cases of RFC 7489 and 9989 that speak of result, policy and domain."""
    file = shared / "corpora/auth-vectors/dmarc/mailauth-dmarc-cases.jsonl"
    checked = 0
    for line in file.read_text("utf-8").splitlines():
        case = json.loads(line)
        wanted = {one["path"]: one["value"][0] for one in case["expect"] if one["op"] == "equal"}
        given = case["input"][0]
        author = given["headerFrom"]
        author = (author if isinstance(author, str) else author[0]).rpartition("@")[2]
        zone = _zone(given["zone"])
        found = find(author, zone)
        got = _told(given, found, zone)
        for path in wanted.keys() & got.keys():
            assert got[path] == wanted[path], case["id"]
            checked += 1
    assert checked >= 20


def _told(given: dict[str, Any], found: DmarcFound, zone: Zone) -> dict[str, Any]:
    """A verifier's answer, put together from the parts."""
    if found.record is None:
        status = "temperror" if found.walk.failed else "none"
        return {"result0.status.result": status}
    passes = any(
        run(aligned(found, one["domain"], mode), zone.answer)
        for domains, mode in (
            (given["dkimDomains"], found.record.dkim),
            (given["spfDomains"], found.record.spf),
        )
        for one in domains
    )
    return {
        "result0.status.result": "pass" if passes else "fail",
        "result0.policy": found.policy,
        "result0.domain": found.published_at,
        "result0.p": found.record.policy,
        "result0.sp": found.record.subdomains,
    }
