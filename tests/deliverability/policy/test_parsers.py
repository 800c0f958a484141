"""Parsers of what domains publish: any bytes give a value or a mistake; examples of the RFCs give what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.policy import mta_sts
from deliverability.policy.dkim_record import KeyRecord, parse_key_record
from deliverability.policy.dmarc_record import (
    Alignment,
    DmarcPolicy,
    DmarcRecord,
    parse_dmarc,
    select_dmarc,
)
from deliverability.policy.mta_sts import Mode, StsPolicy, StsRecord
from deliverability.policy.spf_record import SpfRecord, expand, parse_spf
from deliverability.policy.tags import Mistake
from deliverability.policy.tls_rpt import TlsRptRecord, parse_tls_rpt, select_tls_rpt

PARSERS: list[tuple[Callable[[bytes], object], bytes, type]] = [
    (
        parse_spf,
        b"v=spf1 a/24//64 mx:b.example ip4:192.0.2.0/24 exists:%{ir}.x.example ?all",
        SpfRecord,
    ),
    (
        parse_dmarc,
        b"v=DMARC1; p=reject; sp=none; np=quarantine; rua=mailto:a@b.example",
        DmarcRecord,
    ),
    (
        parse_key_record,
        b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        KeyRecord,
    ),
    (mta_sts.parse_record, b"v=STSv1; id=20160831085700Z;", StsRecord),
    (
        mta_sts.parse_policy,
        b"version: STSv1\r\nmode: enforce\r\nmx: *.mail.example.com\r\nmax_age: 604800\r\n",
        StsPolicy,
    ),
    (parse_tls_rpt, b"v=TLSRPTv1; rua=mailto:reports@example.com", TlsRptRecord),
]


@st.composite
def near(draw: st.DrawFn, good: bytes) -> bytes:
    """A good record with a stretch of it replaced, or anything at all."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    start = draw(st.integers(0, len(good)))
    end = draw(st.integers(start, len(good)))
    return (
        good[:start] + draw(st.one_of(st.binary(max_size=8), st.sampled_from(PIECES))) + good[end:]
    )


PIECES = [
    b";",
    b"=",
    b"%{",
    b"%{d99999999999r}",
    b"/",
    b"//",
    b" ",
    b"\r\n",
    b"::",
    b"v=",
    b"\xff",
    b"p=,",
]


@pytest.mark.parametrize(("parse", "good", "kind"), PARSERS)
def test_any_bytes_give_a_value_or_a_mistake(
    parse: Callable[[bytes], object], good: bytes, kind: type
) -> None:
    """Nothing is raised, and the good record is read."""
    assert isinstance(parse(good), kind)

    @given(near(good))
    def check(record: bytes) -> None:
        parsed = parse(record)
        assert isinstance(parsed, kind | Mistake)
        if isinstance(parsed, Mistake):
            assert parsed.why

    check()


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("mail.example.com", True),
        ("MX1.mail.example.com.", False),
        ("mx.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        ("evilexample.net", False),
        ("", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host: str, fits: bool) -> None:
    """RFC 8461 §4.1."""
    policy = mta_sts.parse_policy(
        b"version: STSv1\nmode: testing\nmx: mail.example.com\nmx: *.Example.net\nmax_age: 86400\n"
    )
    assert isinstance(policy, StsPolicy)
    assert policy.mode is Mode.TESTING
    assert mta_sts.matches(policy, host) is fits


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"mode: enforce\nmx: a.example\nmax_age: 1", "version"),
        (b"version: STSv1\nmode: maybe\nmx: a.example\nmax_age: 1", "mode must be"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1", "no mx"),
        (b"version: STSv1\nmode: enforce\nmx: *.*.example\nmax_age: 1", "line 3"),
        (b"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 31557601", "max_age"),
        (b"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1", "max_age"),
        (b"x" * 70_000, "longer"),
        (b"version: STSv1\nnonsense", "line 2"),
    ],
)
def test_policies_that_are_none(body: bytes, why: str) -> None:
    """Each mistake is named."""
    parsed = mta_sts.parse_policy(body)
    assert isinstance(parsed, Mistake)
    assert why in parsed.why


def test_a_policy_of_mode_none_needs_no_hosts() -> None:
    """RFC 8461 §8.3: it takes a policy back."""
    parsed = mta_sts.parse_policy(b"version: STSv1\nmode: none\nmax_age: 86400\nextra: x\n")
    assert parsed == StsPolicy(Mode.NONE, (), 86_400)


def test_more_than_one_record_counts_as_none() -> None:
    """RFC 8461 §3.1, RFC 8460 §3, RFC 9989 §4.10."""
    assert isinstance(mta_sts.select_record([b"v=STSv1; id=1;", b"v=STSv1; id=2;"]), Mistake)
    assert isinstance(select_tls_rpt([b"v=TLSRPTv1;rua=mailto:a@b"] * 2), Mistake)
    assert isinstance(select_dmarc([b"v=DMARC1; p=none"] * 2), Mistake)
    assert mta_sts.select_record([b"other"]) is None
    assert select_tls_rpt([b"other"]) is None
    assert select_dmarc([b"v=DMARC1x; p=none", b"v=dmarc1; p=none"]) is None


def test_tls_rpt_takes_mail_and_https() -> None:
    """RFC 8460 §3."""
    parsed = parse_tls_rpt(b"v=TLSRPTv1;rua=https://r.example/v1, mailto:tls@example.com,ftp:x;")
    assert parsed == TlsRptRecord(("https://r.example/v1", "mailto:tls@example.com"))
    assert isinstance(parse_tls_rpt(b"v=TLSRPTv1; rua=ftp:x"), Mistake)


def test_dmarc_tags() -> None:
    """RFC 9989 §4.7: defaults, case of values, old tags read over, no p with rua is none."""
    record = parse_dmarc(b"v=DMARC1; p=Reject; adkim=s; pct=50; rua=mailto:A@B.example!10m; t=y;")
    assert isinstance(record, DmarcRecord)
    assert record.policy is DmarcPolicy.REJECT
    assert (record.dkim, record.spf) == (Alignment.STRICT, Alignment.RELAXED)
    assert record.aggregate_uris == ("mailto:A@B.example",)
    assert record.testing
    lenient = parse_dmarc(b"v=DMARC1; p=nothing; rua=mailto:a@b.example")
    assert isinstance(lenient, DmarcRecord)
    assert (lenient.policy, lenient.unusable) == (DmarcPolicy.NONE, ("p",))
    assert isinstance(parse_dmarc(b"v=DMARC1; p=nothing"), Mistake)


@pytest.mark.parametrize(
    ("spec", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ],
)
def test_macros_of_rfc_7208(spec: str, expanded: str) -> None:
    """The examples of §7.4."""
    values = {
        "s": "strong-bad@email.example.com",
        "l": "strong-bad",
        "o": "email.example.com",
        "d": "email.example.com",
        "i": "192.0.2.3",
        "v": "in-addr",
    }
    assert expand(spec, values) == expanded


def test_long_names_lose_labels_from_the_left() -> None:
    """RFC 7208 §7.3."""
    name = expand("%{l}.example.com", {"l": ".".join(["abcdefgh"] * 40)})
    assert len(name) <= 253
    assert name.endswith("abcdefgh.example.com")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"v=spf1 foo -all", "'foo'"),
        (b"v=spf1 ip4:1.2.3.4/33", "at most 32"),
        (b"v=spf1 a:example", "top-level"),
        (b"v=spf1 redirect=a.example redirect=b.example", "twice"),
        (b"v=spf1 include", "domain is expected"),
        (b"v=spf1 exists:%{c}.example.com", "exp only"),
        (b"v=spf1 -all:x", "takes nothing"),
        (b"v=spf1 -redirect=a.example", "no qualifier"),
        ("v=spf1 a:ü.example".encode(), "ASCII"),
    ],
)
def test_spf_mistakes_name_the_term(record: bytes, why: str) -> None:
    """So that its owner finds it."""
    parsed = parse_spf(record)
    assert isinstance(parsed, Mistake)
    assert why in parsed.why
