"""Row 2: DKIM. The keys in DNS now, and the signatures of the message."""

from __future__ import annotations

__all__ = ("check_keys", "check_signatures")

from deliverability.dns.asking import Asking
from deliverability.policy.dkim_record import KeyRecord, Published, compare, find_key
from deliverability.policy.dkim_signature import SignatureVerdict, read_signatures, verify
from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.message import Mail
from deliverability.preflight.subject import Subject

_GOOD_RSA_BITS = 2048
_LEAST_RSA_BITS = 1024


def check_keys(subject: Subject, notes: Notes) -> Asking[None]:
    """Look each key up, and compare it with the one at hand."""
    known = {(key.selector, key.domain): key for key in subject.keys}
    named = dict.fromkeys([*known, *subject.selectors])
    if not named and not subject.message:
        notes.unchecked("dkim-record", "a key of the configuration, or --selector NAME")
    for selector, domain in named:
        published = yield from find_key(selector, domain)
        key = known.get((selector, domain))
        why_not = compare(published, key) if key else _unusable(published)
        if why_not:
            mend = (
                f"publish the record: veredus dkim dns shows it; then {published.name} must answer"
            )
            notes.failed("dkim-record", published.name, why_not, mend)
        else:
            matches = ", and is that of the key that signs" if key else ""
            notes.passed("dkim-record", published.name, f"is there{matches}")
        if published.record is not None:
            _check_strength(published.name, published.record, notes)


def check_signatures(
    subject: Subject, mail: Mail, notes: Notes, now: int
) -> Asking[list[SignatureVerdict]]:
    """Verify the signatures of a message; give those that were read, passing ones first."""
    verdicts = []
    for signature in read_signatures(mail.headers):
        verdicts.append((yield from verify(signature, mail.headers, mail.body, now)))  # noqa: PERF401 (yields)
    verdicts.sort(key=lambda one: not one.passes)
    known = {(key.selector, key.domain) for key in subject.keys} | set(subject.selectors)
    if not verdicts:
        mend = "sign it: a [[tenant.dkim]] key in the configuration signs all mail of the tenant"
        notes.failed("dkim-signature", "the message", "has no DKIM signature", mend)
    for verdict in verdicts:
        where = f"d={verdict.signature.domain} s={verdict.signature.selector}"
        if verdict.passes:
            notes.passed("dkim-signature", where, f"verifies ({verdict.signature.algorithm})")
        else:
            # one that verifies is enough for the providers, another that doesn't is a fault all the same
            weight = Verdict.WARN if verdicts[0].passes else Verdict.BLOCK
            mend = "publish the key that signs, and sign last, after all changes"
            notes.failed("dkim-signature", where, verdict.why_not, mend, weight)
        _check_length(where, verdict, notes)
        published = verdict.published
        identity = (verdict.signature.selector, verdict.signature.domain)
        if published is not None and published.record is not None and identity not in known:
            _check_strength(published.name, published.record, notes)
    return verdicts


def _check_length(where: str, verdict: SignatureVerdict, notes: Notes) -> None:
    if verdict.signature.length is not None:
        mend = "sign the whole body: leave l= out (RFC 6376 §8.2)"
        notes.failed("dkim-signature", where, "l= lets anybody add to the body", mend, Verdict.WARN)


def _unusable(published: Published) -> str:
    if published.record is None:
        return published.why_not
    if published.record.revoked:
        return f"{published.name} is revoked: its p= is empty"
    return published.record.why_unusable


def _check_strength(name: str, record: KeyRecord, notes: Notes) -> None:
    if record.kind == "rsa" and record.bits:
        found = f"RSA with {record.bits} bits"
        mend = "make a key of 2048 bits: veredus dkim rotate"
        if record.bits < _LEAST_RSA_BITS:
            notes.failed("dkim-strength", name, found, mend)
        elif record.bits < _GOOD_RSA_BITS:
            notes.failed("dkim-strength", name, found, mend, Verdict.WARN)
        else:
            notes.passed("dkim-strength", name, found)
    elif record.kind == "ed25519" and record.bits:
        notes.passed(
            "dkim-strength", name, "Ed25519; sign with RSA too, for those who can't read it"
        )
    if record.testing:
        found = "t=y: its mail may be treated as unsigned"
        notes.failed("dkim-testing", name, found, "take t=y out of the record")
    elif not record.revoked:
        notes.passed("dkim-testing", name, "not a test")
