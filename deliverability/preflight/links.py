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
from deliverability.preflight.page import Link, Page
from deliverability.preflight.subject import Subject

_HOSTS_MAX = 25
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
    """Check every link; each host is looked up once, at most 25 of them."""
    hosts: dict[str, None] = {}
    for link in page.links:
        parts = _split(link.href)
        if parts is not None and parts.scheme in ("http", "https"):
            hosts.setdefault(query_name(parts.hostname or ""))
        yield from _check_text(link, parts, notes)
    _check_form(page, notes)
    hosts.pop("", None)
    for host in list(hosts)[:_HOSTS_MAX]:
        yield from _check_resolves(host, notes)
    yield from _check_own(subject.from_domain, list(hosts)[:_HOSTS_MAX], notes)
    wrong = any(one.check == "link-target" for one in notes.findings)
    if hosts and not wrong:
        notes.passed("link-target", "the HTML", f"{len(page.links)} links")


def _check_text(link: Link, parts: SplitResult | None, notes: Notes) -> Asking[None]:
    """A text that is an address must be where the link goes; a subdomain or the same organisation will do."""
    said = _host_in_text(link.text.strip())
    if said is None or parts is None or parts.scheme not in ("http", "https"):
        return
    text_host, host = query_name(said[1]), query_name(parts.hostname or "")
    if not text_host or not host or is_under(host, text_host) or is_under(text_host, host):
        return
    one = yield from organisational_domain(text_host)
    other = yield from organisational_domain(host)
    if one != other:
        found = f"says {link.text}, goes to {shown(host)}"
        mend = "let the text be words, or the same domain as the target"
        notes.failed("link-target", "a link", found, mend)


def _check_form(page: Page, notes: Notes) -> None:
    """Schemes and hosts that readers are warned of; one finding for each kind."""
    kinds: dict[tuple[str, str, Verdict], list[str]] = {}
    for link in page.links:
        fault = _fault(link.href)
        if fault:
            kinds.setdefault(fault, []).append(link.href)
    for (found, mend, weight), hrefs in kinds.items():
        notes.failed("link-form", hrefs[0][:120], f"{found} ({len(hrefs)} links)", mend, weight)
    if page.links and not kinds:
        notes.passed("link-form", "the HTML", f"{len(page.links)} links")


def _fault(href: str) -> tuple[str, str, Verdict] | None:
    parts = _split(href)
    if parts is None:
        return "can't be read as an address", "mend the address", Verdict.BLOCK
    if parts.scheme in ("mailto", "tel", "sms", "cid") or href.startswith("#"):
        return None
    if parts.scheme not in ("http", "https"):
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


def _check_resolves(host: str, notes: Notes) -> Asking[None]:
    if _is_address(host):
        return
    outcomes = []
    for kind in (RecordType.A, RecordType.AAAA):
        answer = yield from ask(host, kind)
        if answer.outcome is Outcome.FOUND:
            return
        outcomes.append(answer.outcome)
    found = f"doesn't resolve: {outcomes[0]}"
    notes.failed("link-form", host, found, "mend the link, or the name's records", Verdict.BLOCK)


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
