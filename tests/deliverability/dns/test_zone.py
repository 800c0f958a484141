"""Zones out of files: what they answer, and the place of each mistake."""

from __future__ import annotations

import pytest

from deliverability.dns.asking import MxRecord, Outcome, Question, RecordType
from deliverability.dns.names import query_name, reverse_name, shown
from deliverability.dns.zone import parse_zone
from engine.errors import InputError

ZONE = parse_zone(
    """
["a.b.example"]
A = "192.0.2.1"
TXT = ["one", "two"]
["192.0.2.1"]
PTR = ["a.b.example"]
["2001:db8::1"]
PTR = ["six.example"]
["*.wild.example"]
A = ["192.0.2.9"]
["here.wild.example"]
TXT = ["x"]
["half.example"]
A = ["192.0.2.2"]
fail = { TXT = "bogus" }
["_25._tcp.mx.example"]
TLSA = ["3 1 1 abcd"]
"""
)


@pytest.mark.parametrize(
    ("name", "kind", "outcome", "records"),
    [
        ("a.b.example", RecordType.A, Outcome.FOUND, ("192.0.2.1",)),
        ("a.b.example", RecordType.TXT, Outcome.FOUND, (b"one", b"two")),
        ("a.b.example", RecordType.MX, Outcome.NO_DATA, ()),
        ("b.example", RecordType.A, Outcome.NO_DATA, ()),  # it has something below it
        ("c.example", RecordType.A, Outcome.NXDOMAIN, ()),
        ("1.2.0.192.in-addr.arpa", RecordType.PTR, Outcome.FOUND, ("a.b.example",)),
        (reverse_name("2001:db8::1"), RecordType.PTR, Outcome.FOUND, ("six.example",)),
        ("any.wild.example", RecordType.A, Outcome.FOUND, ("192.0.2.9",)),
        ("here.wild.example", RecordType.A, Outcome.NO_DATA, ()),
        ("half.example", RecordType.A, Outcome.FOUND, ("192.0.2.2",)),
        ("half.example", RecordType.TXT, Outcome.BOGUS, ()),
    ],
)
def test_it_answers_as_dns_does(
    name: str, kind: RecordType, outcome: Outcome, records: tuple[object, ...]
) -> None:
    """Records, no data, no such name, wildcards, failures by type."""
    answer = ZONE.answer(Question(name, kind))
    assert (answer.outcome, answer.records) == (outcome, records)


def test_tlsa_records_are_taken_apart() -> None:
    """RFC 6698 §2.1."""
    answer = ZONE.answer(Question("_25._tcp.mx.example", RecordType.TLSA))
    assert repr(answer.records[0]).count("abcd") == 0
    assert answer.records[0].data == bytes.fromhex("abcd")  # type: ignore[union-attr]  # a TLSA record


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[", "zone.toml: not TOML"),
        ("x = 1", "zone.toml: x: a table is expected"),
        ('["a b..c"]\nA = "1.2.3.4"', "zone.toml: a b..c: a domain name"),
        ('["a.example"]\nB = "x"', "a.example.B: no such type"),
        ('["a.example"]\nA = "1.2.3.400"', "a.example.A: not the data of A: '1.2.3.400'"),
        ('["a.example"]\nMX = ["mx.example"]', 'such as "10 mx.shop.example"'),
        ('["a.example"]\nfail = "sometimes"', "expected one of servfail, timeout"),
        ('["a.example"]\nTXT = [1]', "text is expected, got 1"),
    ],
)
def test_mistakes_name_their_place(text: str, said: str) -> None:
    """File, name and type, and what was expected."""
    with pytest.raises(InputError) as caught:
        parse_zone(text, "zone.toml")
    assert said in str(caught.value)


def test_the_null_mx_has_no_host() -> None:
    """RFC 7505 §3."""
    zone = parse_zone('["no.example"]\nMX = "0 ."')
    assert zone.answer(Question("no.example", RecordType.MX)).exchanges == (MxRecord(0, ""),)


def test_names_are_asked_for_in_one_form() -> None:
    """Lower case, A-labels, no last dot; what can't be a name is none."""
    assert query_name("Bücher.Example.") == "xn--bcher-kva.example"
    assert query_name("_dmarc.Shop.example") == "_dmarc.shop.example"
    assert query_name("a..b") == query_name(".") == query_name("") == ""
    assert query_name("x" * 250 + ".example") == ""
    assert shown("xn--bcher-kva.example") == "bücher.example"
    assert shown("xn--99999999.example") == "xn--99999999.example"
