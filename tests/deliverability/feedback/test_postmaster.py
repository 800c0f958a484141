"""Exports of Google Postmaster Tools and Microsoft's SNDS, in their forms, written by us."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.feedback.postmaster import read_export
from engine.errors import InputError

GOOGLE = """{"trafficStats": [{"name": "domains/shop.example/trafficStats/20261101",
  "userReportedSpamRatio": 0.002, "domainReputation": "MEDIUM"},
 {"name": "domains/shop.example/trafficStats/20261102", "domainReputation": "REPUTATION_CATEGORY_UNSPECIFIED"}]}"""
GOOGLE_CSV = (
    "name,domainReputation,userReportedSpamRatio\n"
    "domains/shop.example/trafficStats/20261103,BAD,0.01\n"
)
SNDS = (
    "192.0.2.10,11/1/2026 12:00 AM,11/1/2026 11:00 PM,1200,1100,1150,YELLOW,0.3%,"
    "11/1/2026 12:00 AM,11/1/2026 11:00 PM,4,mail.shop.example,a@shop.example,\n"
    "192.0.2.11,11/1/2026 12:00 AM,11/1/2026 11:00 PM,900,900,900,GREEN,< 0.1%,,,0,,,\n"
)


def test_postmaster_tools_in_both_forms() -> None:
    first, second = read_export(GOOGLE)
    assert (first.of, first.day) == ("domain shop.example", "2026-11-01")
    assert (first.reputation, first.spam_rate) == ("MEDIUM", 0.002)
    assert (second.reputation, second.spam_rate) == ("", None)
    (third,) = read_export(GOOGLE_CSV)
    assert (third.reputation, third.spam_rate, third.day) == ("BAD", 0.01, "2026-11-03")


def test_snds() -> None:
    yellow, green = read_export(SNDS)
    assert (yellow.of, yellow.colour, yellow.trap_hits) == ("address 192.0.2.10", "YELLOW", 4)
    assert yellow.spam_rate == pytest.approx(0.003)
    assert (green.colour, green.spam_rate, green.trap_hits) == ("GREEN", None, 0)


@pytest.mark.parametrize(
    "text",
    ["0\r0", "", "a,b\n1,2\n", "{", '{"trafficStats": 3}', "192.0.2.1,x\n", '[{"name": "x"}]'],
)
def test_what_is_neither_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(InputError):
        read_export(text, "export.csv")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        read_export(text)
