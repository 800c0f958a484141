"""Rows 6, 11, 12, 16 to 21: how it is sent, how much, and what the providers report back."""

from __future__ import annotations

__all__ = ("check_sending",)

from itertools import combinations

from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.message import Mail
from deliverability.preflight.subject import Enrolment, History, Stream, Subject

_BULK_PER_DAY = 5_000  # Google: to Gmail, from one primary domain; once reached, for ever
_SPAM_TARGET = 0.001
_SPAM_CEILING = 0.003
_STEP_MAX = 2.0


def check_sending(subject: Subject, mail: Mail | None, notes: Notes) -> None:
    """Check what is told about the sending side."""
    _check_tls(subject, notes)
    _check_honoured(subject, notes)
    _check_history(subject.facts.history, notes)
    _check_streams(subject.facts.stream, notes)
    _check_enrolment(subject.facts.enrolled, notes)
    if mail is not None:
        _check_feedback_id(mail, notes)
        _check_arc(mail, notes)


def _check_tls(subject: Subject, notes: Notes) -> None:
    match subject.tls:
        case "":
            notes.unchecked(
                "tls", "a configuration that says how mail goes out: delivery.relay.starttls"
            )
        case "never":
            mend = 'set delivery.relay.starttls = "required", or "opportunistic"'
            notes.failed("tls", "the configuration", "STARTTLS is never used", mend)
        case "required" | "opportunistic":
            notes.passed("tls", "the configuration", f"STARTTLS is {subject.tls}")


def _check_honoured(subject: Subject, notes: Notes) -> None:
    if not subject.marketing:
        return
    match subject.asks_consent:
        case None:
            notes.unchecked("honoured", "a configuration with the stream's consent_topic")
        case True:
            found = "consent is asked for again right before a message leaves the queue"
            notes.passed("honoured", "the stream", found)
        case False:
            found = "the stream asks for no consent, so who leaves is still written to"
            notes.failed("honoured", "the stream", found, "set consent_topic for the stream")


def _check_history(history: tuple[History, ...], notes: Notes) -> None:
    if not any(one.spam_rate is not None for one in history):
        notes.unchecked(
            "spam-rate", "[[history]] spam_rate in --facts, from Postmaster Tools and CFL"
        )
    if not any(one.planned_per_day is not None for one in history):
        needs = "[[history]] planned_per_day and recent_per_day in --facts"
        notes.unchecked("volume-step", needs)
        notes.unchecked("volume-class", f"{needs}; until then all is judged by the rules for bulk")
    for one in history:
        _check_spam_rate(one, notes)
        _check_volume(one, notes)


def _check_spam_rate(one: History, notes: Notes) -> None:
    if one.spam_rate is None:
        return
    found = f"{one.spam_rate * 100:.2g} %"
    mend = (
        "send only to who asked for it and still reads it; pause the stream until the rate is down"
    )
    if one.spam_rate >= _SPAM_CEILING:
        notes.failed("spam-rate", one.provider, f"{found}, 0.3 % or more", mend)
    elif one.spam_rate >= _SPAM_TARGET:
        notes.failed("spam-rate", one.provider, f"{found}, above 0.1 %", mend, Verdict.WARN)
    else:
        notes.passed("spam-rate", one.provider, found)


def _check_volume(one: History, notes: Notes) -> None:
    planned = one.planned_per_day
    if planned is None:
        return
    bulk = "bulk" if planned >= _BULK_PER_DAY else "below bulk"
    notes.passed("volume-class", one.provider, f"{planned:,} a day: {bulk}")
    recent = one.recent_per_day
    if recent is None:
        notes.unchecked("volume-step", f"recent_per_day of {one.provider}")
    elif planned > _STEP_MAX * recent and planned >= _BULK_PER_DAY:
        mend = f"hold it to {int(_STEP_MAX * recent):,} a day, and double at most"
        notes.failed("volume-step", one.provider, f"{planned:,} a day after {recent:,}", mend)
    else:
        notes.passed("volume-step", one.provider, f"{planned:,} a day after {recent:,}")


def _check_streams(streams: tuple[Stream, ...], notes: Notes) -> None:
    if len(streams) < 2:
        notes.unchecked("streams", "two or more [[stream]] in --facts, or a configuration")
    for one, other in combinations(streams[:50], 2):
        shared = _shared(one, other)
        where = f"{one.name} and {other.name}"
        if len(shared) == 3:
            mend = "give each a subdomain, a DKIM selector or addresses of its own"
            notes.failed("streams", where, f"share {', '.join(shared)}", mend)
        else:
            apart = [
                what for what in ("From domain", "selectors", "addresses") if what not in shared
            ]
            notes.passed("streams", where, f"differ in {', '.join(apart)}")


def _shared(one: Stream, other: Stream) -> list[str]:
    """By what two streams can't be told apart; what isn't said counts as shared."""
    shared = []
    if one.from_domain == other.from_domain:
        shared.append("From domain")
    if not (one.selectors or other.selectors) or set(one.selectors) & set(other.selectors):
        shared.append("selectors")
    if not (one.addresses or other.addresses) or set(one.addresses) & set(other.addresses):
        shared.append("addresses")
    return shared


def _check_enrolment(enrolled: Enrolment | None, notes: Notes) -> None:
    if enrolled is None:
        notes.unchecked("enrolled", "[enrolled] in --facts")
        return
    programmes = {
        "Google Postmaster Tools": enrolled.google_postmaster,
        "Yahoo CFL": enrolled.yahoo_cfl,
        "Microsoft SNDS": enrolled.microsoft_snds,
        "Microsoft JMRP": enrolled.microsoft_jmrp,
    }
    for name, present in programmes.items():
        if present:
            notes.passed("enrolled", name, "enrolled")
        else:
            notes.failed(
                "enrolled", name, "not enrolled", "enrol; complaints are unseen without it"
            )


def _check_feedback_id(mail: Mail, notes: Notes) -> None:
    value = mail.first("feedback-id")
    parts = value.split(":")
    if not value:
        mend = "add Feedback-ID: campaign:stream:kind:sender"
        notes.failed("feedback-id", "Feedback-ID", "there is none", mend)
    elif len(parts) > 4 or not parts[-1].strip():
        mend = "at most four parts between colons, the last one names the sender"
        notes.failed("feedback-id", "Feedback-ID", value, mend)
    else:
        notes.passed("feedback-id", "Feedback-ID", value)


def _check_arc(mail: Mail, notes: Notes) -> None:
    """Row 20 is for who forwards: resent fields, or a list's own, say so."""
    forwarded = any(
        mail.all(name) for name in ("resent-from", "resent-to", "x-forwarded-to", "list-post")
    )
    if not forwarded:
        return
    if mail.all("arc-seal"):
        notes.passed("arc", "the message", "is forwarded, and carries ARC")
    else:
        notes.failed("arc", "the message", "is forwarded without ARC", "seal it (RFC 8617)")
