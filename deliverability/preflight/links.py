"""Where links lead: to what their text says, over HTTPS, to names that resolve, on one's own domain."""

from __future__ import annotations

__all__ = ("check_links",)

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from deliverability.dns.asking import Asking, Outcome, RecordType, ask
from deliverability.dns.names import is_under, query_name, shown
from deliverability.policy.dmarc import organisational_domain
from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.page import Page
from deliverability.preflight.subject import Subject

_HOSTS_MAX = 25
_WEB = ("http", "https")
_SHORTENERS = frozenset(
    {
        "bit.ly",
        "tinyurl.com",
        "goo.gl",
        "t.co",
        "ow.ly",
        "is.gd",
        "buff.ly",
        "rebrand.ly",
        "cutt.ly",
    }
)
_host_in_text = re.compile(
    r"(?:https?://)?((?:[\w-]{1,63}\.){1,6}[^\W\d_]{2,24})(?:[:/?#]\S*)?", re.IGNORECASE
).fullmatch


def check_links(subject: Subject, page: Page, notes: Notes) -> Asking[None]:
    """Check every link; at most 25 hosts are looked up, and 25 texts compared with their targets."""
    hosts: dict[str, None] = {}
    pairs: dict[tuple[str, str], str] = {}
    for link in page.links:
        parts = _split(link.href)
        host = query_name(parts.hostname or "") if parts and parts.scheme in _WEB else ""
        if host:
            hosts.setdefault(host)
            said = _host_in_text(link.text.strip())
            pairs.setdefault((query_name(said[1]) if said else "", host), link.text)
    looked_up = list(hosts)[:_HOSTS_MAX]
    wrong = yield from _check_texts(pairs, notes)
    if hosts and not wrong:
        notes.passed("link-target", "the HTML", f"{len(page.links)} links")
    fine = _check_form(page, notes)
    for host in looked_up:
        resolves = yield from _check_resolves(host, notes)
        fine = fine and resolves
    if page.links and fine:
        notes.passed("link-form", "the HTML", f"{len(page.links)} links")
    yield from _check_own(subject.from_domain, looked_up, notes)


def _check_texts(pairs: dict[tuple[str, str], str], notes: Notes) -> Asking[bool]:
    """A text that is an address must be where the link goes; a subdomain or the same organisation will do."""
    unlike = [
        (said, host, text)
        for (said, host), text in pairs.items()
        if said and not is_under(host, said) and not is_under(said, host)
    ]
    wrong = False
    for said, host, text in unlike[:_HOSTS_MAX]:
        if (yield from organisational_domain(said)) != (yield from organisational_domain(host)):
            wrong = True
            mend = "let the text be words, or the same domain as the target"
            notes.failed("link-target", "a link", f"says {text}, goes to {shown(host)}", mend)
    return wrong


def _check_form(page: Page, notes: Notes) -> bool:
    """Schemes and hosts that readers are warned of; one finding for each kind. Returns whether there is none."""
    kinds: dict[tuple[str, str, Verdict], list[str]] = {}
    for link in page.links:
        fault = _fault(link.href)
        if fault:
            kinds.setdefault(fault, []).append(link.href)
    for (found, mend, weight), hrefs in kinds.items():
        notes.failed("link-form", hrefs[0][:120], f"{found} ({len(hrefs)} links)", mend, weight)
    return not kinds


def _fault(href: str) -> tuple[str, str, Verdict] | None:
    parts = _split(href)
    if parts is None:
        return "can't be read as an address", "mend the address", Verdict.BLOCK
    if parts.scheme in ("mailto", "tel", "sms", "cid") or href.startswith("#"):
        return None
    if parts.scheme not in _WEB:
        return (
            f"the scheme {parts.scheme or '(none)'!r}",
            "link to https:// addresses",
            Verdict.BLOCK,
        )
    if parts.username or parts.password:
        return "a user name before the host", "leave out what stands before @", Verdict.BLOCK
    if _is_address(parts.hostname or ""):
        return "a bare IP address", "use a host name", Verdict.BLOCK
    if (parts.hostname or "").lower() in _SHORTENERS:
        return (
            "a link shortener",
            "link to the target itself: shorteners hide it, and are blocked",
            Verdict.WARN,
        )
    if parts.scheme == "http":
        return "not HTTPS", "link to https:// addresses", Verdict.WARN
    return None


def _check_resolves(host: str, notes: Notes) -> Asking[bool]:
    if _is_address(host):
        return True
    outcomes = []
    for kind in (RecordType.A, RecordType.AAAA):
        answer = yield from ask(host, kind)
        if answer.outcome is Outcome.FOUND:
            return True
        outcomes.append(answer.outcome)
    found = f"doesn't resolve: {outcomes[0]}"
    notes.failed("link-form", host, found, "mend the link, or the name's records", Verdict.BLOCK)
    return False


def _check_own(from_domain: str, hosts: list[str], notes: Notes) -> Asking[None]:
    """Tell which links lead to other organisations than the author's."""
    own = yield from organisational_domain(from_domain)
    foreign = []
    for host in hosts:
        if not is_under(host, own) and (yield from organisational_domain(host)) != own:
            foreign.append(host)  # noqa: PERF401 (no yield in a comprehension)
    if not hosts:
        return
    if len(foreign) == len(hosts):
        mend = f"use a tracking domain below {own}: foreign ones share their reputation with others"
        notes.failed("link-alignment", from_domain, f"all lead to {', '.join(foreign[:5])}", mend)
    else:
        others = f"; others: {', '.join(foreign[:5])}" if foreign else ""
        found = f"{len(hosts) - len(foreign)} of {len(hosts)} hosts are below {own}{others}"
        notes.passed("link-alignment", from_domain, found)


def _split(href: str) -> SplitResult | None:
    try:
        parts = urlsplit(href.strip())
        parts.hostname, parts.port  # noqa: B018 (both are read lazily, and raise then)
    except ValueError:
        return None
    return parts


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
