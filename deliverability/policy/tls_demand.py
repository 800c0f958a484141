"""What a session with a host must fulfil before mail goes over it: TLS by configuration, MTA-STS and DANE together.

DANE comes first where a host has TLSA records (RFC 8461 §2), then MTA-STS in mode enforce, then the configuration;
the configuration can only make it stricter.
"""

from __future__ import annotations

__all__ = ("DEMAND_NONE", "TlsDemand", "demand_of")

from collections.abc import Sequence
from typing import Literal

import msgspec

from deliverability.dns.asking import TlsaRecord
from deliverability.policy.dane import usable
from engine.settings_routes import TlsLevel

PolicyKind = Literal["no-policy-found", "sts", "tlsa"]


class TlsDemand(msgspec.Struct, frozen=True):
    """What one host must fulfil.

    `level` `dane`: the certificate must fit `tlsa`. `testing`: a failure of `verified` is reported and mail goes all
    the same (RFC 8461 §5). `kind` is the policy type of RFC 8460 §4.2.
    """

    level: Literal["none", "opportunistic", "required", "verified", "dane"]
    kind: PolicyKind = "no-policy-found"
    tlsa: tuple[TlsaRecord, ...] = ()
    testing: bool = False

    @property
    def optional(self) -> bool:
        """Tell whether mail may go in clear when TLS fails."""
        return self.level in ("none", "opportunistic") or self.testing


DEMAND_NONE = TlsDemand("none")


def demand_of(
    configured: TlsLevel,
    sts: Literal["none", "testing", "enforce"],
    tlsa: Sequence[TlsaRecord],
) -> TlsDemand:
    """Put the demands together; `tlsa` are records that were validated."""
    if tlsa:
        fit = usable(tlsa)
        if fit:
            return TlsDemand("dane", "tlsa", fit)
        if configured != "verified" and sts != "enforce":
            return TlsDemand("required", "tlsa")
    if sts == "enforce":
        return TlsDemand("verified", "sts")
    if sts == "testing" and configured in ("none", "opportunistic"):
        return TlsDemand("verified", "sts", testing=True)
    return TlsDemand(configured, "sts" if sts == "testing" else "no-policy-found")
