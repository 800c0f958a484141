"""What comes out of reading one mail: values, no behaviour.

A `Reading` has a kind and reports: one for each recipient of a bounce, one for each complaint, one for each
aggregate
report. Everything unknown is "" or 0. `evidence` says why: which line, which rule, how sure.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = (
    "ComplaintReport",
    "DmarcReport",
    "Evidence",
    "Kind",
    "Reading",
    "RecipientReport",
    "Report",
    "TlsPolicy",
    "TlsReport",
)

Kind = Literal[
    "bounce",
    "delay",
    "delivered",
    "auto-reply",
    "complaint",
    "opt-out",
    "auth-failure",
    "dmarc-aggregate",
    "tls-rpt",
    "other",
]


class Evidence(msgspec.Struct, frozen=True):
    """Why a report says what it says.

    Attributes:
        rule: the id of the rule that decided the cause, or the code table it was read from.
        line: the words that the rule matched.
        source: where the recipient and the diagnostic came from (`dsn`, `prose`, `header`, …).
        confidence: 0 to 1; the share of such decisions expected to be right.
    """

    rule: str = ""
    line: str = ""
    source: str = ""
    confidence: float = 0.0


class RecipientReport(msgspec.Struct, frozen=True, tag="recipient"):
    """What one mail says about one recipient (RFC 3464 §2.3).

    Attributes:
        recipient: the address that failed, as the reporting host names it.
        sent_to: the forward-path the message was sent to, where it can be told: the signed reverse-path first, then
            the original recipient of the report, then `recipient`.
        action: failed, delayed, delivered, relayed or expanded (RFC 3464 §2.3.3), as it counts for the
        recipient: `delayed` where
            the reporting host gave up because time ran out and nobody refused the message.
        reported_action: the action as the report says or plainly means it.
        status: enhanced status code (RFC 3463); derived from the cause unless `status_quoted`.
        permanent: the address itself is dead: a hard bounce.
        rejected: the reply was a permanent one (5yz), which may concern the message alone.
        handling: what to do next (the third axis, `taxonomy.Action`).
    """

    recipient: str
    sent_to: str
    action: str
    reported_action: str
    status: str
    status_quoted: bool
    reply_code: str
    permanent: bool
    rejected: bool
    cause: str
    blame: str
    handling: str
    diagnostic: str
    sisimai: str
    kumomta: str
    remote_mta: str
    command: str
    evidence: Evidence


class ComplaintReport(msgspec.Struct, frozen=True, tag="complaint"):
    """One feedback report (RFC 5965, RFC 6591), or a complaint in another form."""

    feedback_type: str
    recipient: str
    source_ip: str
    reported_domain: str
    sisimai: str
    original_sender: str
    message_id: str
    arrival: str
    auth_failure: str
    evidence: Evidence


class DmarcReport(msgspec.Struct, frozen=True, tag="dmarc-aggregate"):
    """The totals of one DMARC aggregate report (RFC 7489 §7.2, RFC 9990).

    `messages` counts messages; `dkim_aligned`, `spf_aligned` and `dmarc_pass` (either) those that passed.
    """

    org_name: str
    report_id: str
    domain: str
    messages: int
    dkim_aligned: int
    spf_aligned: int
    dmarc_pass: int
    begin_s: int
    end_s: int
    policy: str
    sources: tuple[tuple[str, int, int], ...]


class TlsPolicy(msgspec.Struct, frozen=True):
    """The sessions of one policy of a TLS report (RFC 8460 §4.4)."""

    domain: str | None
    type: str
    success: int | None
    failure: int | None
    failures: tuple[tuple[str, int], ...]


class TlsReport(msgspec.Struct, frozen=True, tag="tls-rpt"):
    """One TLS report (RFC 8460)."""

    organization: str
    report_id: str
    begin: str
    end: str
    policies: tuple[TlsPolicy, ...]


Report = RecipientReport | ComplaintReport | DmarcReport | TlsReport


class Reading(msgspec.Struct, frozen=True):
    """What one mail (or one report file) says.

    Attributes:
        kind: what it is; the most serious where reports differ.
        reports: empty for `other`.
        reverse_path: what the signed reverse-path resolved to, or "": then the mail proves nothing.
        limits: names of the bounds that were met, so that something was not read.
    """

    kind: Kind
    reports: tuple[Report, ...] = ()
    reverse_path: str = ""
    limits: tuple[str, ...] = ()
