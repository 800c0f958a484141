"""Read a bounce: put together what its fields, its prose and the message it carries say about each recipient.

The fields of a delivery status come first; prose fills what they lack (a diagnostic, a reply code, the
recipient itself), the message it carries comes last. A status whose detail is 0 says less than the code that
the remote host gave, and yields to it.
"""

from __future__ import annotations

import re

import msgspec

from deliverability.feedback.addresses import addresses_in, clean_address, same_address
from deliverability.feedback.dsn import DeliveryStatus, RecipientFields
from deliverability.feedback.limits import DIAGNOSTIC_CHARS, RECIPIENTS
from deliverability.feedback.mime import Header, decode_words
from deliverability.feedback.prose import Mention, mentions, quotes_reply
from deliverability.feedback.reading import Evidence, Kind, Reading, RecipientReport
from deliverability.feedback.replies import (
    Verdict,
    classify_reply,
    find_codes,
    find_stage,
    verdict_of,
)
from deliverability.feedback.signs import says_delayed, says_delivered
from deliverability.feedback.taxonomy import MEANINGS, STATUS, Cause

__all__ = ("Bounce", "automatic_reply", "read_bounce")

_PLAIN = 3
_SURE = 0.8
_SOFT = (
    Cause.TIMED_OUT,
    Cause.MAILBOX_FULL,
    Cause.DNS_FAILURE,
    Cause.NETWORK_FAILURE,
    Cause.CONNECTION_REFUSED,
)
_NAMED = re.compile(r"(?:host|connect to|with|by) ([\w-]+(?:\.[\w-]+)+)", re.IGNORECASE)


class Bounce(msgspec.Struct, frozen=True):
    """A mail that looks like a bounce, taken apart.

    Attributes:
        header: of the mail itself.
        prose: its text without the copy of the message.
        status: its delivery-status fields, if any.
        original: the header of the message that bounced, if it is there.
        resolved: what the signed reverse-path says the message was sent to, or "".
    """

    header: Header
    prose: str
    status: DeliveryStatus | None
    original: Header | None
    resolved: str


class _Facts(msgspec.Struct):
    """What is known of one recipient before it is classified."""

    recipient: str
    original: str = ""
    action: str = ""
    status: str = ""
    diagnostic: str = ""
    said: str = ""
    remote_mta: str = ""
    source: str = ""


def read_bounce(bounce: Bounce) -> Reading:
    """The reading of a bounce, delay or delivery notice; kind `other` if it names no recipient and says nothing."""
    subject = decode_words(bounce.header.get("subject"))
    facts = _facts(bounce)
    if not facts:
        return Reading(kind="other")
    silent = any(not fact.action for fact in facts)
    delayed = silent and says_delayed(subject, bounce.prose)
    delivered = silent and not delayed and says_delivered(subject, bounce.prose)
    whole = _whole(bounce.prose) if len(facts) == 1 else ""
    reports = tuple(
        _report(fact, bounce, whole, delayed=delayed, delivered=delivered)
        for fact in facts[:RECIPIENTS]
    )
    return Reading(kind=_kind(reports), reports=reports)


def automatic_reply(header: Header, cause: Cause) -> Reading:
    """The reading of an automatic reply or a challenge; its recipient is who answered."""
    sender = clean_address(header.get("from")) or clean_address(header.get("return-path"))
    subject = decode_words(header.get("subject"))
    meaning = MEANINGS[cause]
    report = RecipientReport(
        recipient=sender,
        sent_to=sender,
        action="",
        reported_action="",
        status="",
        status_quoted=False,
        reply_code="",
        permanent=False,
        rejected=False,
        cause=cause,
        blame=meaning.blame,
        handling=meaning.action,
        diagnostic=subject[:DIAGNOSTIC_CHARS],
        sisimai=meaning.sisimai,
        kumomta=meaning.kumomta,
        remote_mta="",
        command="",
        evidence=Evidence(
            rule=f"signs.{cause}", line=subject[:200], source="header", confidence=0.85
        ),
    )
    return Reading(kind="auto-reply", reports=(report,))


def _facts(bounce: Bounce) -> list[_Facts]:
    avoid = _avoided(bounce)
    said = mentions(bounce.prose, avoid)
    if not any(mention.strength == _PLAIN for mention in said):
        everybody = mentions(bounce.prose, frozenset())
        said = everybody if any(m.strength == _PLAIN for m in everybody) else said or everybody
    if bounce.status is not None and bounce.status.recipients:
        return _from_fields(bounce, bounce.status.recipients, said)
    failed = [a for value in bounce.header.all("x-failed-recipients") for a in addresses_in(value)]
    named = {
        mention.recipient.lower()
        for mention in said
        if mention.strength == _PLAIN and quotes_reply(mention.diagnostic)
    }
    if failed and (not named or named & {address.lower() for address in failed}):
        return [_named(address, said, bounce, "header") for address in dict.fromkeys(failed)]
    if said:
        return [_Facts(recipient=m.recipient, said=m.diagnostic, source="prose") for m in said]
    return [_unnamed(bounce)]


def _avoided(bounce: Bounce) -> frozenset[str]:
    """Addresses that no bounce is about: who gets it, who sent it."""
    names = [
        bounce.header.get("to"),
        bounce.header.get("from"),
        bounce.header.get("reply-to"),
        bounce.header.get("delivered-to"),
    ]
    if bounce.original is not None:
        names += [bounce.original.get("from"), bounce.original.get("return-path")]
    avoid = {address.lower() for name in names for address in addresses_in(name, 5)}
    if bounce.original is not None:
        avoid -= {address.lower() for address in addresses_in(bounce.original.get("to"), 20)} - {
            address.lower() for address in addresses_in(bounce.header.get("from"), 2)
        }
    return frozenset(avoid)


def _from_fields(
    bounce: Bounce, fields: tuple[RecipientFields, ...], said: list[Mention]
) -> list[_Facts]:
    facts = []
    for one in fields:
        recipient = _failed_recipient(one)
        mention = _mention_of(recipient, one, said)
        if not _is_global(recipient):
            recipient = (
                (mention.recipient if mention else "")
                or _fallback(bounce)
                or one.final
                or one.original
            )
        words = mention.diagnostic if mention else ""
        if not words and len(fields) == 1:
            words = _whole(bounce.prose)
        facts.append(
            _Facts(
                recipient=recipient,
                original=one.original,
                action=one.action,
                status=one.status,
                diagnostic=_one_line(one.diagnostic),
                said=words,
                remote_mta=one.remote_mta,
                source="dsn",
            )
        )
    return _merged(facts)


def _failed_recipient(one: RecipientFields) -> str:
    """The recipient of a group: the final one, unless that is the same mailbox under a name from inside.

    A forward to somebody else's domain stays as it is (that address failed; `sent_to` has ours), a rewriting
    inside the
    same domain or to a host of it does not: nobody outside knows `ann@store7.example.org`.
    """
    if one.original.replace('"', "") == one.final.replace('"', ""):
        return one.final
    if _is_global(one.original) and _is_global(one.final):
        outer, inner = one.original.rpartition("@")[2].lower(), one.final.rpartition("@")[2].lower()
        return one.original if inner == outer or inner.endswith(f".{outer}") else one.final
    return next(
        (name for name in (one.final, one.original, one.actual) if _is_global(name)), one.final
    )


def _is_global(address: str) -> bool:
    """Say whether an address has a domain that means something outside the reporting host."""
    return "." in address.rpartition("@")[2] and "@" in address


def _merged(facts: list[_Facts]) -> list[_Facts]:
    """Each recipient once: a repeated group adds what the first lacks."""
    kept: dict[str, _Facts] = {}
    for fact in facts:
        key = fact.recipient.lower()
        first = kept.setdefault(key, fact)
        if first is not fact:
            first.diagnostic = first.diagnostic or fact.diagnostic
            first.status = first.status or fact.status
            first.action = first.action or fact.action
    return list(kept.values())


def _mention_of(recipient: str, one: RecipientFields, said: list[Mention]) -> Mention | None:
    for mention in said:
        if any(
            same_address(mention.recipient, name)
            for name in (recipient, one.final, one.actual)
            if name
        ):
            return mention
    return said[0] if len(said) == 1 else None


def _named(address: str, said: list[Mention], bounce: Bounce, source: str) -> _Facts:
    for mention in said:
        if same_address(mention.recipient, address):
            return _Facts(recipient=mention.recipient, said=mention.diagnostic, source=source)
    return _Facts(recipient=address, said=_whole(bounce.prose), source=source)


def _unnamed(bounce: Bounce) -> _Facts:
    return _Facts(recipient=_fallback(bounce), said=_whole(bounce.prose), source="original")


def _fallback(bounce: Bounce) -> str:
    """The recipient where the report names none: the signed reverse-path's, that of the message, the one address told.

    The last is for languages whose sentences the grammar of prose does not know.
    """
    if "@" in bounce.resolved:
        return bounce.resolved
    if bounce.original is not None:
        for name in ("x-original-to", "to", "cc"):
            found = addresses_in(bounce.original.get(name), 2)
            if found:
                return found[0]
    found = addresses_in(decode_words(bounce.header.get("subject")), 1)
    if found:
        return found[0]
    avoid = _avoided(bounce)
    named = [address for address in addresses_in(bounce.prose, 5) if address.lower() not in avoid]
    return named[0] if len(named) == 1 else ""


def _report(
    fact: _Facts, bounce: Bounce, whole: str, *, delayed: bool, delivered: bool
) -> RecipientReport:
    code, enhanced = _codes(fact, whole)
    quoted = _status(fact.status, enhanced)
    stage = find_stage(fact.said) or find_stage(fact.diagnostic) or find_stage(bounce.prose)
    reported = fact.action or ("delayed" if delayed else "delivered" if delivered else "failed")
    verdict = _verdict(fact, code, quoted, stage, reported, whole)
    rejected = verdict.permanent or (not code and not quoted and reported == "failed")
    hard = MEANINGS[verdict.cause].hard and reported == "failed"
    settled = verdict_of(verdict.cause, permanent=rejected or hard, rule=verdict.rule)
    return RecipientReport(
        recipient=fact.recipient,
        sent_to=_sent_to(fact, bounce),
        action=_action(verdict.cause, reported),
        reported_action=reported,
        status=quoted or _derived_status(verdict.cause, code, transient=reported == "delayed"),
        status_quoted=bool(quoted),
        reply_code=code,
        permanent=hard,
        rejected=rejected,
        cause=verdict.cause,
        blame=verdict.blame,
        handling=settled.action,
        diagnostic=(fact.diagnostic or _one_line(fact.said) or _whole(bounce.prose))[
            :DIAGNOSTIC_CHARS
        ],
        sisimai=verdict.sisimai,
        kumomta=verdict.kumomta,
        remote_mta=fact.remote_mta or _remote(fact.said),
        command=stage,
        evidence=Evidence(
            rule=verdict.rule, line=verdict.words, source=fact.source, confidence=verdict.confidence
        ),
    )


def _action(cause: Cause, reported: str) -> str:
    """The action as it counts for the recipient: what ran out of time without anybody refusing it is `delayed`."""
    return "delayed" if cause is Cause.TIMED_OUT and reported == "failed" else reported


def _derived_status(cause: Cause, code: str, *, transient: bool) -> str:
    """The enhanced code nearest to a cause, of the class that the reply code gives, for bounces that quote none."""
    if cause not in STATUS:
        return ""
    known = code[:1] in ("4", "5")
    soft = code[0] == "4" if known else transient or cause in _SOFT
    return f"{4 if soft else 5}.{STATUS[cause]}"


def _codes(fact: _Facts, whole: str) -> tuple[str, str]:
    """Reply code and enhanced code: of the diagnostic, the words about the recipient, or all prose."""
    code, enhanced = find_codes(fact.diagnostic)
    if not code or not enhanced:
        other_code, other_enhanced = find_codes(fact.said)
        if (
            (not code and not enhanced)
            or (not enhanced and code == other_code)
            or (not code and enhanced == other_enhanced)
        ):
            code, enhanced = code or other_code, enhanced or other_enhanced
        elif not code:
            code = other_code
    if not code and not enhanced and whole:
        return find_codes(whole)
    return code, enhanced


def _status(field: str, quoted: str) -> str:
    """The status: what the remote host was quoted with, unless it says nothing (x.0.0) and the field says more."""
    if quoted and (not field or not quoted.endswith(".0.0")):
        return quoted
    return field or quoted


def _verdict(fact: _Facts, code: str, status: str, stage: str, action: str, whole: str) -> Verdict:
    if action in ("delivered", "relayed", "expanded"):
        return verdict_of(
            Cause.DELIVERED, permanent=False, rule=f"action:{action}", confidence=0.95
        )
    first = classify_reply(code, status, fact.diagnostic, stage=stage) if fact.diagnostic else None
    if first is not None and first.confidence >= _SURE:
        return first
    second = classify_reply(code, status, fact.said, stage=stage) if fact.said else None
    third = None
    if whole and (second is None or second.confidence < _SURE):
        third = classify_reply(code, status, whole, stage=stage)
    found = [verdict for verdict in (first, second, third) if verdict is not None]
    if not found:
        return classify_reply(code, status, "", stage=stage)
    return max(found, key=lambda verdict: verdict.confidence)


def _sent_to(fact: _Facts, bounce: Bounce) -> str:
    if "@" in bounce.resolved:
        return bounce.resolved
    if "@" in fact.original:
        return fact.original
    if bounce.original is not None:
        named = addresses_in(bounce.original.get("to"), 2)
        if len(named) == 1 and named[0]:
            return named[0]
    return fact.recipient


def _kind(reports: tuple[RecipientReport, ...]) -> Kind:
    actions = {report.reported_action for report in reports}
    if "failed" in actions:
        return "bounce"
    return "delay" if "delayed" in actions else "delivered"


def _remote(text: str) -> str:
    found = _NAMED.search(text)
    return found.group(1) if found else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _whole(prose: str) -> str:
    """All prose as one line, the part that quotes a reply first."""
    lines = [line.strip() for line in prose.split("\n") if line.strip()]
    quoting = [n for n, line in enumerate(lines) if quotes_reply(line)]
    start = quoting[0] if quoting else 0
    return " ".join([*lines[start:], *lines[:start]])[:DIAGNOSTIC_CHARS]
