"""Which sessions show that the server is the one that a domain means. RFC 8689 §4.2.1."""

from __future__ import annotations

import pytest

from deliverability.policy.tls_demand import TlsDemand
from deliverability.transport.way import HopSession, authenticates


@pytest.mark.parametrize(
    ("demand", "named", "clear", "shows"),
    [
        (TlsDemand("dane", "tlsa"), False, False, True),
        (TlsDemand("verified", "sts"), False, False, True),
        (TlsDemand("verified", "sts", testing=True), False, False, False),
        (TlsDemand("verified"), False, False, False),
        (TlsDemand("verified"), True, False, True),
        (TlsDemand("required", "tlsa"), True, False, False),
        (TlsDemand("opportunistic"), True, False, False),
        (TlsDemand("none"), True, False, False),
        (TlsDemand("dane", "tlsa"), False, True, False),
    ],
)
def test_a_certificate_alone_shows_nothing(
    demand: TlsDemand, named: bool, clear: bool, shows: bool
) -> None:
    """It may be that of a host which a forged MX record named; a policy or the configuration must name the host."""
    session = HopSession(demand, None, named=named)
    assert authenticates(session, clear=clear) is shows
