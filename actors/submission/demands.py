"""What a submitted mail asks of every server on its way: REQUIRETLS (RFC 8689), notifications (RFC 3461). Pure."""

from __future__ import annotations

__all__ = ("demands_of", "mail_refusal", "rcpt_refusal")

from collections.abc import Mapping, Sequence
from typing import Literal

from deliverability.smtp.envelope import DsnOptions, dsn_mistake, from_xtext

Refusal = tuple[int, str, str]
_NOT_OFFERED: Refusal = (555, "5.5.4", "Parameter of MAIL not offered")
_RCPT_NOT_OFFERED: Refusal = (555, "5.5.4", "Parameter of RCPT not offered")


def mail_refusal(parameters: Mapping[str, str], *, tls: bool, dsn: bool) -> Refusal | None:
    """Say what is wrong with the parameters of MAIL that concern this, if anything is."""
    unknown = {"MT-PRIORITY"} | (
        {"REQUIRETLS"} if not tls else set()
    )  # RFC 8689 §2: over TLS alone
    if parameters.keys() & (unknown if dsn else unknown | {"RET", "ENVID"}):
        return _NOT_OFFERED
    if parameters.get("REQUIRETLS"):
        return 501, "5.5.4", "REQUIRETLS has no value"
    if "RET" in parameters and parameters["RET"].upper() not in ("FULL", "HDRS"):
        return 501, "5.5.4", "RET is FULL or HDRS"
    return _dsn_refusal(parameters, {})


def rcpt_refusal(parameters: Mapping[str, str], *, dsn: bool) -> Refusal | None:
    """Say what is wrong with the parameters of RCPT, if anything is."""
    if parameters and not dsn:
        return _RCPT_NOT_OFFERED
    if "ORCPT" in parameters and _original(parameters) is None:
        return 501, "5.5.4", "ORCPT is rfc822; and an address as xtext"
    return _dsn_refusal({}, parameters)


def demands_of(
    mail: Mapping[str, str], recipients: Sequence[Mapping[str, str]]
) -> tuple[bool, tuple[DsnOptions, ...]]:
    """Give what parameters ask for: TLS all the way, and notifications by recipient (none: the usual)."""
    dsn = tuple(_options(mail, one) for one in recipients)
    asked = any(one != DsnOptions() for one in dsn)
    return "REQUIRETLS" in mail, dsn if asked else ()


def _dsn_refusal(mail: Mapping[str, str], rcpt: Mapping[str, str]) -> Refusal | None:
    if "ENVID" in mail and from_xtext(mail["ENVID"]) is None:
        return 501, "5.5.4", "ENVID isn't xtext"
    if "NOTIFY" in rcpt and not rcpt["NOTIFY"]:
        return 501, "5.5.4", "NOTIFY has no value"
    wrong = dsn_mistake(_options(mail, rcpt))
    return (501, "5.5.4", wrong) if wrong else None


def _options(mail: Mapping[str, str], rcpt: Mapping[str, str]) -> DsnOptions:
    ret: Literal["", "FULL", "HDRS"] = ""
    if mail.get("RET", ""):
        ret = "FULL" if mail["RET"].upper() == "FULL" else "HDRS"
    return DsnOptions(
        ret=ret,
        envelope_id=from_xtext(mail.get("ENVID", "")) or "",
        notify=rcpt.get("NOTIFY", "").upper(),
        original_recipient=_original(rcpt) or "",
    )


def _original(rcpt: Mapping[str, str]) -> str | None:
    """Give the address of ORCPT; None where there is none that can be passed on. RFC 3461 §4.2."""
    kind, _, address = rcpt.get("ORCPT", "").partition(";")
    return from_xtext(address) if kind.lower() == "rfc822" and address else None
