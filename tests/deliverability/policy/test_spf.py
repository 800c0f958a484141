"""check_host on a zone of our own: the facts of RFC 7208 appendix A, the limits, and what mends a record."""

from __future__ import annotations

import pytest

from deliverability.dns.asking import run
from deliverability.dns.zone import parse_zone
from deliverability.policy.spf import SpfResult, SpfVerdict, check_host

# The domain setup of appendix A, with the records of A.1 under names of their own.
ZONE = parse_zone(
    """
["example.com"]
MX = ["10 mail-a.example.com", "20 mail-b.example.com"]
A = ["192.0.2.10", "192.0.2.11"]
["amy.example.com"]
A = "192.0.2.65"
["bob.example.com"]
A = "192.0.2.66"
["mail-a.example.com"]
A = "192.0.2.129"
["mail-b.example.com"]
A = "192.0.2.130"
["example.org"]
MX = "10 mail-c.example.org"
["mail-c.example.org"]
A = "192.0.2.140"
["192.0.2.65"]
PTR = "amy.example.com"
["192.0.2.140"]
PTR = "mail-c.example.org"
["10.0.0.4"]
PTR = "bob.example.com"
["all.test"]
TXT = "v=spf1 +all"
["a.test"]
TXT = "v=spf1 a:example.com -all"
["mx.test"]
TXT = "v=spf1 mx:example.com -all"
["two.test"]
TXT = "v=spf1 mx:example.com mx:example.org -all"
["net.test"]
TXT = "v=spf1 mx:example.com/30 mx:example.org/30 -all"
["ptr.test"]
TXT = "v=spf1 ptr:example.com -all"
["ip4.test"]
TXT = "v=spf1 ip4:192.0.2.128/28 -all"
["redirect.test"]
TXT = "v=spf1 redirect=ip4.test"
["eleven.test"]
TXT = "v=spf1 include:five.test include:six.test -all"
["five.test"]
TXT = "v=spf1 a:example.com a:example.com a:example.com a:example.com ?all"
["six.test"]
TXT = "v=spf1 a:example.com a:example.com a:example.com a:example.com a:example.com ?all"
["voids.test"]
TXT = "v=spf1 a:x1.test a:x2.test a:x3.test -all"
["later.test"]
TXT = "v=spf1 include:broken.test -all"
["broken.test"]
fail = "servfail"
["loop.test"]
TXT = "v=spf1 include:loop.test -all"
["two-records.test"]
TXT = ["v=spf1 -all", "v=spf1 +all"]
["no-include.test"]
TXT = "v=spf1 include:example.com -all"
"""
)


def check(address: str, domain: str) -> SpfVerdict:
    return run(check_host(address, domain), ZONE.answer)


@pytest.mark.parametrize(
    ("domain", "address", "result"),
    [
        ("all.test", "203.0.113.5", SpfResult.PASS),
        ("a.test", "192.0.2.10", SpfResult.PASS),
        ("a.test", "192.0.2.65", SpfResult.FAIL),
        ("mx.test", "192.0.2.129", SpfResult.PASS),
        ("mx.test", "192.0.2.140", SpfResult.FAIL),
        ("two.test", "192.0.2.140", SpfResult.PASS),
        ("net.test", "192.0.2.131", SpfResult.PASS),
        ("net.test", "192.0.2.141", SpfResult.PASS),
        ("net.test", "192.0.2.144", SpfResult.FAIL),
        ("ptr.test", "192.0.2.65", SpfResult.PASS),
        ("ptr.test", "192.0.2.140", SpfResult.FAIL),
        ("ptr.test", "10.0.0.4", SpfResult.FAIL),  # its PTR is forged: bob has another address
        ("ip4.test", "192.0.2.65", SpfResult.FAIL),
        ("ip4.test", "192.0.2.129", SpfResult.PASS),
        ("ip4.test", "::ffff:192.0.2.129", SpfResult.PASS),
        ("ip4.test", "2001:db8::1", SpfResult.FAIL),
        ("redirect.test", "192.0.2.130", SpfResult.PASS),
        ("example.com", "192.0.2.10", SpfResult.NONE),
        ("later.test", "192.0.2.1", SpfResult.TEMPERROR),
        ("loop.test", "192.0.2.1", SpfResult.PERMERROR),
        ("two-records.test", "192.0.2.1", SpfResult.PERMERROR),
        ("no-include.test", "192.0.2.1", SpfResult.PERMERROR),
        ("single", "192.0.2.1", SpfResult.NONE),
    ],
)
def test_results(domain: str, address: str, result: SpfResult) -> None:
    """What RFC 7208 appendix A.1 says of its examples, and the error results of §4 and §5.2."""
    assert check(address, domain).result is result


def test_the_eleventh_lookup_is_one_too_many() -> None:
    """§4.6.4: 2 includes and 9 a; an address that matches earlier passes all the same."""
    verdict = check("203.0.113.1", "eleven.test")
    assert verdict.result is SpfResult.PERMERROR
    assert "look-up number 11" in verdict.why
    assert check("192.0.2.10", "eleven.test").lookups == 2
    assert check("192.0.2.10", "eleven.test").result is SpfResult.PASS


def test_the_third_void_lookup_is_one_too_many() -> None:
    """§4.6.4."""
    verdict = check("203.0.113.1", "voids.test")
    assert (verdict.result, verdict.voids) == (SpfResult.PERMERROR, 3)
    assert "x3.test" in verdict.why


def test_a_verdict_says_what_decided() -> None:
    """The term, the domain whose record it stands in, and the records read."""
    verdict = check("192.0.2.130", "redirect.test")
    assert (verdict.matched, verdict.domain) == ("ip4:192.0.2.128/28", "ip4.test")
    assert list(verdict.records) == ["redirect.test", "ip4.test"]
    assert verdict.lookups == 1
