"""Rows 1 and 5: SPF for the addresses that will send, their names, and the names they give in EHLO."""

from __future__ import annotations

__all__ = ("check_sources",)

from ipaddress import ip_address

from deliverability.dns.asking import Asking, RecordType, ask
from deliverability.dns.names import reverse_name
from deliverability.policy.spf import LOOKUPS_MAX, VOIDS_MAX, SpfResult, check_host
from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.subject import Source, Subject

_NEEDS = "the addresses that send: --source IP=EHLO-NAME, or [[source]] in --facts"
_NOBODY = "0.0.0.0"  # noqa: S104 (an address that no term names: the whole record is walked)


def check_sources(subject: Subject, notes: Notes) -> Asking[None]:
    """Check SPF of the MAIL FROM domain, then each address."""
    domain = subject.mail_from_domain or subject.from_domain
    yield from _check_record(domain, notes)
    for check in ("spf", "ptr", "ehlo"):
        if not subject.sources:
            notes.unchecked(check, _NEEDS)
    for source in subject.sources:
        yield from _check_spf(domain, source, notes)
        names = yield from _check_ptr(source, notes)
        yield from _check_ehlo(source, names, notes)


def _check_record(domain: str, notes: Notes) -> Asking[None]:
    """The record as a whole: walked to its end, for an address that it doesn't name."""
    verdict = yield from check_host(_NOBODY, domain)
    if verdict.result is SpfResult.PERMERROR and "look-up number" in verdict.why:
        notes.failed(
            "spf-lookups",
            domain,
            verdict.why,
            "leave out includes that you don't use, or name networks with ip4 and ip6",
        )
    elif verdict.result is SpfResult.NONE:
        notes.failed(
            "spf", domain, verdict.why, f'publish TXT at {domain}: "v=spf1 ip4:YOUR-ADDRESS -all"'
        )
    elif verdict.result is SpfResult.PERMERROR and verdict.voids > VOIDS_MAX:
        # of this one address: `exists` may well find something for those that send
        mend = "leave out names that don't exist"
        notes.failed("spf-lookups", domain, verdict.why, mend, Verdict.WARN)
    elif verdict.result in (SpfResult.PERMERROR, SpfResult.TEMPERROR):
        notes.failed("spf", domain, f"{verdict.result}: {verdict.why}", _mend_spf(verdict.result))
    else:
        notes.passed("spf-lookups", domain, f"{verdict.lookups} of {LOOKUPS_MAX}")
        _check_scope(domain, verdict.result, verdict.matched, notes)


def _check_scope(domain: str, result: SpfResult, matched: str, notes: Notes) -> None:
    if result is SpfResult.PASS:
        found = f"{matched} lets the whole world send for it"
        notes.failed("spf-scope", domain, found, "end the record in -all", Verdict.BLOCK)
    elif result is SpfResult.NEUTRAL:
        found = f"ends in {matched or 'nothing'}, which says nothing about other addresses"
        notes.failed("spf-scope", domain, found, "end the record in -all or ~all")
    else:
        notes.passed("spf-scope", domain, f"ends in {matched}")


def _check_spf(domain: str, source: Source, notes: Notes) -> Asking[None]:
    verdict = yield from check_host(source.address, domain, helo=source.ehlo)
    where = f"{source.address} for {domain}"
    if verdict.result is SpfResult.PASS:
        notes.passed("spf", where, verdict.why)
        return
    kind = "ip6" if ":" in source.address else "ip4"
    mend = f"add {kind}:{source.address} to the SPF record of {domain}"
    if verdict.result in (SpfResult.PERMERROR, SpfResult.TEMPERROR):
        mend = _mend_spf(verdict.result)
    notes.failed("spf", where, f"{verdict.result}: {verdict.why}", mend)


def _mend_spf(result: SpfResult) -> str:
    if result is SpfResult.TEMPERROR:
        return "look after the name servers; providers put mail off meanwhile"
    return "mend the record: with a mistake in it, it passes for nobody"


def _check_ptr(source: Source, notes: Notes) -> Asking[list[str]]:
    """Give the names of an address that lead back to it."""
    answer = yield from ask(reverse_name(source.address), RecordType.PTR)
    if not answer.names:
        found = f"its PTR: {answer.outcome}"
        mend = f"have whoever owns {source.address} set its PTR to {source.ehlo or 'its host name'}"
        notes.failed("ptr", source.address, found, mend)
        return []
    confirmed = []
    for name in answer.names[:10]:
        if (yield from _leads_to(name, source.address)):
            confirmed.append(name)  # noqa: PERF401 (no yield in a comprehension)
    shown = ", ".join(answer.names[:10])
    if confirmed:
        notes.passed("ptr", source.address, f"{shown}, and back")
    else:
        found = f"is called {shown}, which doesn't lead back to it"
        name = source.ehlo or "a name of yours"
        mend = (
            f"have whoever owns the address set its PTR to {name}, and let that name resolve to it"
        )
        notes.failed("ptr", source.address, found, mend)
    return confirmed


def _check_ehlo(source: Source, names: list[str], notes: Notes) -> Asking[None]:
    if not source.ehlo:
        notes.unchecked(
            "ehlo", f"the EHLO name of {source.address}: --source {source.address}=NAME"
        )
        return
    where = f"{source.ehlo} from {source.address}"
    if not (yield from _leads_to(source.ehlo, source.address)):
        mend = f"give a name in EHLO that resolves to {source.address}, at best that of its PTR"
        notes.failed("ehlo", where, "the name doesn't resolve to the address", mend)
    elif names and source.ehlo.lower().removesuffix(".") not in names:
        found = f"resolves to the address, but its PTR is {', '.join(names)}"
        notes.failed("ehlo", where, found, "use one name for both", Verdict.WARN)
    else:
        notes.passed("ehlo", where, "the name resolves to the address")


def _leads_to(name: str, address: str) -> Asking[bool]:
    wanted = ip_address(address)
    kind = RecordType.A if wanted.version == 4 else RecordType.AAAA
    answer = yield from ask(name, kind)
    return any(ip_address(one) == wanted for one in answer.names)
