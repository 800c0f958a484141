"""Rows 3, 4, 13, 14, 15: the policy of the author's domain, what aligns with it, and whether the domains are real."""

from __future__ import annotations

__all__ = ("FREEMAIL", "check_alignment", "check_dmarc", "check_domains")

from random import Random

from deliverability.dns.asking import Asking, Outcome, RecordType, ask
from deliverability.dns.mail_hosts import MailHosts, find_mail_hosts
from deliverability.dns.names import is_under, query_name, shown
from deliverability.policy import mta_sts, tls_rpt
from deliverability.policy.dmarc import (
    DmarcFound,
    aligned,
    find_dmarc,
    organisational_domain,
)
from deliverability.policy.dmarc_record import DmarcPolicy
from deliverability.policy.tags import Mistake
from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.subject import Subject

_URIS_MAX = 5
_NAMES = (
    "gmail.com googlemail.com yahoo.com yahoo.co.uk yahoo.de yahoo.fr yahoo.co.jp ymail.com rocketmail.com "
    "aol.com aim.com outlook.com hotmail.com hotmail.co.uk hotmail.fr hotmail.de live.com msn.com icloud.com "
    "me.com mac.com gmx.de gmx.net gmx.com gmx.at gmx.ch web.de t-online.de freenet.de mail.com mail.ru "
    "bk.ru inbox.ru list.ru yandex.ru yandex.com ya.ru qq.com 163.com 126.com sina.com wp.pl o2.pl tlen.pl "
    "onet.pl op.pl vp.pl poczta.onet.pl interia.pl interia.eu poczta.fm gazeta.pl orange.fr wanadoo.fr free.fr "
    "laposte.net sfr.fr libero.it virgilio.it tiscali.it alice.it proton.me protonmail.com zoho.com fastmail.com "
    "comcast.net verizon.net att.net sbcglobal.net bellsouth.net cox.net btinternet.com uol.com.br bol.com.br "
    "rediffmail.com naver.com daum.net hanmail.net seznam.cz"
)
FREEMAIL = frozenset(_NAMES.split())
"""Domains of mailbox providers that people, not companies, have addresses in."""


def check_dmarc(subject: Subject, notes: Notes) -> Asking[DmarcFound]:
    """Check that there is a policy that can be read; give it."""
    found = yield from find_dmarc(subject.from_domain)
    name = f"_dmarc.{found.domain}"
    mend = f'publish TXT at {name}: "v=DMARC1; p=none; rua=mailto:dmarc@{found.organisation}"'
    for at, why in found.walk.mistakes.items():
        if at in (found.domain, found.organisation):
            notes.failed("dmarc-record", f"_dmarc.{at}", why, mend)
    if found.record is None:
        failed = ", ".join(f"_dmarc.{at}: {outcome}" for at, outcome in found.walk.failed.items())
        notes.failed("dmarc-record", name, failed or "there is no DMARC record", mend)
        return found
    where = f"_dmarc.{found.published_at}"
    notes.passed("dmarc-record", where, f"p={found.policy} for {shown(found.domain)}")
    if found.record.unusable:
        named = ", ".join(f"{tag}=" for tag in found.record.unusable)
        notes.failed(
            "dmarc-record", where, f"{named} can't be read", "mend the record", Verdict.WARN
        )
    yield from _check_reports(found, notes)
    return found


def check_alignment(
    subject: Subject, author: DmarcFound, signers: tuple[str, ...], notes: Notes
) -> Asking[None]:
    """Check which of SPF's and DKIM's domains align. `signers` are the d= that verify."""
    record = author.record
    if record is None:
        notes.unchecked("alignment", "a DMARC record, which says how strict it is")
        return
    if not (subject.mail_from_domain or signers or subject.message):
        notes.unchecked("alignment", "--mail-from and --selector, or a configuration")
        return
    by_spf = bool(subject.mail_from_domain) and (
        yield from aligned(author, subject.mail_from_domain, record.spf)
    )
    by_dkim = []
    for domain in dict.fromkeys(signers):
        if (yield from aligned(author, domain, record.dkim)):
            by_dkim.append(domain)  # noqa: PERF401 (no yield in a comprehension)
    spf = subject.mail_from_domain or "(not known)"
    found = f"MAIL FROM {spf}: {'aligned' if by_spf else 'not'}; DKIM "
    found += f"{', '.join(signers) or '(none)'}: {'aligned' if by_dkim else 'not'}"
    mend = f"sign with d={author.organisation}, and let MAIL FROM be below {author.organisation}"
    if by_spf or by_dkim:
        notes.passed("alignment", author.domain, found)
    else:
        above = _above(author.domain, (subject.mail_from_domain, *signers))
        if above:
            # receivers with a list of public suffixes see one organisation, those that walk the tree two
            mend = f"publish a DMARC record at {above}, so that both are of one organisation (RFC 9989)"
        notes.failed("alignment", author.domain, found, mend, Verdict.WARN if above else None)
    if by_spf and by_dkim:
        notes.passed("alignment-both", author.domain, "both")
    elif by_spf or by_dkim:
        found = (
            f"only {'SPF' if by_spf else 'DKIM'} aligns: if it breaks on the way, nothing is left"
        )
        notes.failed("alignment-both", author.domain, found, mend)


def _above(author: str, domains: tuple[str, ...]) -> str:
    """The upper one of two domains of which one is below the other, or ""."""
    for domain in domains:
        if "." in domain and is_under(author, domain):
            return domain
        if domain and is_under(domain, author):
            return author
    return ""


def check_domains(
    subject: Subject, author: DmarcFound, reply_domains: tuple[str, ...], notes: Notes
) -> Asking[None]:
    """Check that domains exist and can receive, and that From isn't somebody else's."""
    for domain in dict.fromkeys((subject.from_domain, subject.mail_from_domain)):
        if domain:
            yield from _check_exists(domain, notes)
    for domain in dict.fromkeys((subject.from_domain, *reply_domains)):
        yield from _check_receives(domain, notes)
    _check_freemail(subject.from_domain, author, notes)
    yield from _check_tls_policies(subject.mail_from_domain or subject.from_domain, notes)


def _check_reports(found: DmarcFound, notes: Notes) -> Asking[None]:
    """Check that aggregate reports go somewhere, and that a domain of others agreed to it. RFC 9990 §4."""
    assert found.record is not None, "asked only for a record that is there"
    where = f"_dmarc.{found.published_at}"
    uris = found.record.aggregate_uris
    if not uris:
        mend = f"add rua=mailto:dmarc@{found.organisation}: reports show who sends in your name"
        notes.failed("dmarc-reports", where, "no rua=", mend)
    for uri in uris[:_URIS_MAX]:
        receiver = query_name(uri.rpartition("@")[2])
        if (yield from organisational_domain(receiver)) == found.organisation:
            notes.passed("dmarc-reports", where, uri)
            continue
        consent = f"{found.published_at}._report._dmarc.{receiver}"
        answer = yield from ask(consent, RecordType.TXT)
        if any(text.startswith(b"v=DMARC1") for text in answer.texts):
            notes.passed("dmarc-reports", where, f"{uri}, which agreed to it")
        else:
            mend = f'have {receiver} publish TXT at {consent}: "v=DMARC1;", or no report is sent'
            notes.failed("dmarc-reports", where, f"{uri} didn't agree to reports", mend)


def _check_exists(domain: str, notes: Notes) -> Asking[None]:
    outcomes = []
    for kind in (RecordType.MX, RecordType.A, RecordType.AAAA, RecordType.SOA):
        answer = yield from ask(domain, kind)
        if answer.outcome is Outcome.FOUND:
            notes.passed("domain-exists", domain, f"has {kind}")
            return
        outcomes.append(answer.outcome)
    unsettled = next((outcome for outcome in outcomes if not outcome.settled), None)
    found = f"no MX, A, AAAA or SOA ({unsettled or outcomes[0]})"
    notes.failed("domain-exists", domain, found, f"publish MX or A for {domain}")


def _check_receives(domain: str, notes: Notes) -> Asking[None]:
    found = yield from find_mail_hosts(domain, Random(0))  # noqa: S311 (the order doesn't matter here)
    if isinstance(found, MailHosts):
        notes.passed("can-receive", domain, f"mail goes to {found.site}")
    else:
        notes.failed(
            "can-receive", domain, found.reason, f"publish an MX for {domain} that takes replies"
        )


def _check_freemail(domain: str, author: DmarcFound, notes: Notes) -> None:
    provider = next((one for one in (domain, author.organisation) if one in FREEMAIL), "")
    if not provider:
        notes.passed("freemail", domain, "not a mailbox provider's domain")
        return
    strict = author.policy in (DmarcPolicy.QUARANTINE, DmarcPolicy.REJECT)
    found = f"{provider} belongs to a mailbox provider" + (
        f", whose DMARC policy is {author.policy}" if strict else ""
    )
    notes.failed("freemail", domain, found, "send from a domain of your own")


def _check_tls_policies(domain: str, notes: Notes) -> Asking[None]:
    """MTA-STS and TLS-RPT of the domain that bounces come to: a wrong record is worse than none."""
    sts_answer = yield from ask(f"_mta-sts.{domain}", RecordType.TXT)
    report_answer = yield from ask(f"_smtp._tls.{domain}", RecordType.TXT)
    records = {
        f"_mta-sts.{domain}": mta_sts.select_record(sts_answer.texts),
        f"_smtp._tls.{domain}": tls_rpt.select_tls_rpt(report_answer.texts),
    }
    for name, record in records.items():
        if isinstance(record, Mistake):
            notes.failed("tls-reports", name, record.why, "mend the record, or remove it")
        elif record is not None:
            notes.passed("tls-reports", name, "can be read")
