"""Checks of the sending side: addresses, keys, DMARC and alignment, domains, volume, streams."""

from __future__ import annotations

import pytest

from deliverability.dkim.keys import dns_record
from deliverability.preflight.demands import CHECKS
from deliverability.preflight.subject import Enrolment, Facts, History, Source, Stream
from tests.deliverability.preflight.mails import found, key, message, report_on, subject, zone


def test_a_good_sender_passes() -> None:
    """No block and no warning; what can't be known is listed, not passed."""
    report = report_on(subject())
    assert [(one.check, one.found) for one in report.findings if one.verdict != "pass"] == []
    assert report.verdict == "pass"
    assert {one.check for one in report.unchecked} == {
        *("spam-rate", "volume-step", "volume-class", "streams", "enrolled")
    }


def test_every_finding_names_who_demands_it_and_since_when() -> None:
    """Each check of the catalogue has a demand with source and date; rows 1 to 21 are all there."""
    assert {check.row for check in CHECKS.values()} >= set(range(1, 22))
    for check in CHECKS.values():
        assert check.demands, check.name
        assert all(one.provider and one.source and one.date for one in check.demands)
    blocked = found(report_on(subject(sources=(Source("192.0.2.9"),))), "spf")
    assert blocked[0].mend
    assert blocked[0].demanded_by[0].replies == ("4.7.27", "5.7.27")


@pytest.mark.parametrize(
    ("more", "check", "verdict", "said"),
    [
        ('["192.0.2.7"]\nPTR = "dyn.isp.example"', "ptr", "block", "doesn't lead back"),
        ("", "ptr", "block", "no such name"),
        (
            '["192.0.2.7"]\nPTR = "x.shop.example"\n["x.shop.example"]\nA = "192.0.2.7"',
            "ehlo",
            "block",
            "doesn't resolve",
        ),
        ("", "spf", "block", "fail: -all"),
    ],
)
def test_addresses(more: str, check: str, verdict: str, said: str) -> None:
    """SPF, PTR, forward match and EHLO of an address that isn't set up."""
    report = report_on(subject(sources=(Source("192.0.2.7", "mx.shop.example"),)), zone(more))
    findings = found(report, check)
    assert [one.verdict for one in findings] == [verdict]
    assert said in findings[0].found
    assert findings[0].mend


@pytest.mark.parametrize(
    ("record", "check", "verdict"),
    [
        ("v=spf1 +all", "spf-scope", "block"),
        ("v=spf1 ip4:192.0.2.1 ?all", "spf-scope", "warn"),
        ("v=spf1 ip4:192.0.2.1", "spf-scope", "warn"),
        ("v=spf1 ip4:192.0.2.1 foo -all", "spf", "block"),
        ("nothing", "spf", "block"),
        ("v=spf1 " + "a:mx.shop.example " * 11 + "-all", "spf-lookups", "block"),
    ],
)
def test_spf_records(record: str, check: str, verdict: str) -> None:
    """What is wrong with the record as a whole, whichever address sends."""
    broken = zone().replace("v=spf1 ip4:192.0.2.1 include:relay.example -all", record)
    findings = found(report_on(subject(), broken), check)
    assert verdict in [one.verdict for one in findings]


@pytest.mark.parametrize(
    ("old", "new", "check", "verdict"),
    [
        ("p=quarantine; rua=mailto:dmarc@shop.example", "p=none", "dmarc-reports", "warn"),
        ("v=DMARC1; p=quarantine", "v=DMARC1; p=maybe", "dmarc-reports", "pass"),
        ('TXT = "v=DMARC1; p', 'TXT = "v=DMARC2; p', "dmarc-record", "block"),
        ("rua=", "aspf=s; adkim=s; rua=", "alignment-both", "warn"),
    ],
)
def test_dmarc(old: str, new: str, check: str, verdict: str) -> None:
    """No record blocks, no reports warn, strict alignment leaves DKIM alone."""
    assert old in zone()
    report = report_on(subject(), zone().replace(old, new))
    assert verdict in [one.verdict for one in report.findings if one.check == check]


def test_nothing_aligned_blocks() -> None:
    """A relay's own domain for both."""
    report = report_on(subject(mail_from_domain="relay.example", keys=(), selectors=()))
    assert found(report, "alignment")[0].verdict == "block"
    assert "not" in found(report, "alignment")[0].found


def test_domains_above_each_other_warn_where_only_the_lower_publishes() -> None:
    """The tree walk sees two organisations, a list of public suffixes one."""
    records = zone(
        '["_dmarc.news.shop.example"]\nTXT = "v=DMARC1; p=none; rua=mailto:d@news.shop.example"'
    )
    records = records.replace('["_dmarc.shop.example"]', '["unpublished.example"]')
    one = subject(from_domain="news.shop.example", mail_from_domain="relay.example")
    (finding,) = found(report_on(one, records), "alignment")
    assert (finding.verdict, "at shop.example" in finding.mend) == ("warn", True)


def test_freemail_blocks() -> None:
    """From a mailbox provider's own domain, also below it."""
    report = report_on(subject(from_domain="gmail.com"))
    assert found(report, "freemail")[0].verdict == "block"


def test_domains_must_exist_and_receive() -> None:
    """Row 14 blocks, row 15 warns; a null MX can't receive."""
    report = report_on(subject(from_domain="ghost.shop.example"))
    assert found(report, "domain-exists")[0].verdict == "block"
    assert found(report, "can-receive")[0].verdict == "warn"
    null = zone('["null.shop.example"]\nMX = "0 ."')
    report = report_on(subject(from_domain="null.shop.example"), null)
    assert not found(report, "domain-exists")
    assert "null MX" in found(report, "can-receive")[0].found


def test_keys_in_dns() -> None:
    """Not there, of another key, revoked, a test; of a selector without a key at hand."""
    record = dns_record(key())
    assert found(
        report_on(subject(), zone().replace("s1._domainkey", "s2._domainkey")), "dkim-record"
    )
    assert found(report_on(subject(), zone().replace(record, "v=DKIM1; p=")), "dkim-record")
    testing = report_on(subject(), zone().replace(record, record + "; t=y"))
    assert found(testing, "dkim-testing")[0].verdict == "warn"
    other = subject(keys=(), selectors=(("s1", "shop.example"), ("s9", "shop.example")))
    report = report_on(other)
    assert [one.subject for one in found(report, "dkim-record")] == ["s9._domainkey.shop.example"]
    assert len(found(report, "dkim-record", "pass")) == 1


@pytest.mark.parametrize(
    ("rate", "verdict"), [(0.0005, "pass"), (0.001, "warn"), (0.0029, "warn"), (0.003, "block")]
)
def test_complaints(rate: float, verdict: str) -> None:
    """0.1 % is the target, 0.3 % the ceiling."""
    facts = Facts(history=(History("google", spam_rate=rate),))
    report = report_on(subject(facts=facts))
    assert [one.verdict for one in report.findings if one.check == "spam-rate"] == [verdict]


@pytest.mark.parametrize(
    ("recent", "planned", "verdict"),
    [
        (10_000, 20_000, "pass"),
        (10_000, 20_001, "block"),
        (100, 4_000, "pass"),
        (0, 5_000, "block"),
    ],
)
def test_volume_steps(recent: int, planned: int, verdict: str) -> None:
    """At most double, from bulk volumes on."""
    facts = Facts(history=(History("google", recent, planned),))
    report = report_on(subject(facts=facts))
    assert [one.verdict for one in report.findings if one.check == "volume-step"] == [verdict]


def test_streams_and_enrolment() -> None:
    """Streams that differ in nothing warn; so does each programme that isn't joined."""
    marketing = Stream("marketing", "shop.example", ("s1",), ("192.0.2.1",))
    same = Stream("transactional", "shop.example", ("s1",), ("192.0.2.1",))
    apart = Stream("transactional", "shop.example", ("s2",), ("192.0.2.1",))
    enrolled = Enrolment(google_postmaster=True, yahoo_cfl=True)
    report = report_on(subject(facts=Facts(stream=(marketing, same), enrolled=enrolled)))
    assert len(found(report, "streams")) == 1
    assert [one.subject for one in found(report, "enrolled")] == [
        "Microsoft SNDS",
        "Microsoft JMRP",
    ]
    assert not found(report_on(subject(facts=Facts(stream=(marketing, apart)))), "streams")


def test_tls_and_consent() -> None:
    """TLS that is never used warns, a marketing stream without consent blocks."""
    report = report_on(subject(tls="never", asks_consent=False))
    assert found(report, "tls")[0].verdict == "warn"
    assert found(report, "honoured")[0].verdict == "block"
    assert not found(report_on(subject(asks_consent=False, marketing=False)), "honoured")


def test_dns_that_fails_is_said() -> None:
    """A server failure isn't a missing record."""
    failing = zone('["_dmarc.example"]\nfail = "timeout"').replace(
        '["bounce.shop.example"]', '["bounce.shop.example"]\nfail = { TXT = "servfail" }'
    )
    report = report_on(subject(), failing)
    assert "server failure" in found(report, "spf")[0].found


def test_a_message_counts_only_signatures_that_verify_as_aligned() -> None:
    """A key in the configuration doesn't help a message that isn't signed with it."""
    raw = message(signed=False)
    report = report_on(subject(raw, mail_from_domain="relay.example"))
    assert found(report, "alignment")[0].verdict == "block"
    assert found(report, "dkim-signature")[0].verdict == "block"


def test_others_must_agree_to_reports() -> None:
    """RFC 9990 §4: a foreign rua needs a record of its own."""
    foreign = zone().replace("mailto:dmarc@shop.example", "mailto:x@reports.example")
    (finding,) = found(report_on(subject(), foreign), "dmarc-reports")
    assert "shop.example._report._dmarc.reports.example" in finding.mend
    agreed = f'{foreign}["shop.example._report._dmarc.reports.example"]\nTXT = "v=DMARC1;"\n'
    assert not found(report_on(subject(), agreed), "dmarc-reports")


def test_names_that_exist_only_for_senders_are_no_fault() -> None:
    """exists: finds nothing for the address that the record is walked with; that warns at most."""
    record = "v=spf1 " + " ".join(f"exists:%{{i}}.e{n}.shop.example" for n in range(3)) + " -all"
    records = zone(
        '["192.0.2.1.e0.shop.example"]\nA = "127.0.0.2"\n["0.0.0.0.x.shop.example"]\nA = "127.0.0.2"\n'
    ).replace("v=spf1 ip4:192.0.2.1 include:relay.example -all", record)
    report = report_on(subject(), records)
    assert len(found(report, "spf", "pass")) == 1
    assert [one.verdict for one in found(report, "spf-lookups")] == ["warn"]
