"""Rows 8, 9, 10: leaving with one click, and by a link that can be seen. RFC 2369, RFC 8058."""

from __future__ import annotations

__all__ = ("check_endpoint", "check_one_click", "check_visible_link", "one_click_url")

import re
from collections.abc import Sequence

from deliverability.policy.dkim_signature import SignatureVerdict
from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.message import Mail
from deliverability.preflight.page import Page
from deliverability.preflight.subject import EndpointAnswer, Subject

_SLOW_MS = 5_000  # our own bound: nobody publishes one
_POST = "List-Unsubscribe=One-Click"
_uri = re.compile(r"<\s*([^<>]*?)\s*>")
# Words for leaving in the languages of the providers' countries; parts of words, since languages inflect.
_words = re.compile(
    r"unsubscrib|opt[ -]?out|abmelde|abbestell|austrag|d[ée]sabonn|d[ée]sinscri"
    r"|cancelar (?:la )?(?:suscri|assin|subscri)"
    r"|darse de baja|disiscri|annulla(?:re)? l.iscrizione|afmeld|uitschrijv|wypisa|wypisz|rezygn|odhl[áa]s"
    r"|avregistrer|avprenumerera|avsluta|peruuta|отписа|配信停止|退订|수신거부"
    r"|email preferences|manage (?:your )?(?:preferences|subscription)",
    re.IGNORECASE,
)


def one_click_url(mail: Mail) -> str:
    """Give the HTTPS address of List-Unsubscribe, or ""."""
    return next((uri for uri in _uris(mail) if uri.lower().startswith("https:")), "")


def check_one_click(
    subject: Subject, mail: Mail, verdicts: Sequence[SignatureVerdict], notes: Notes
) -> None:
    """Check both fields, and that a signature that verifies covers them (RFC 8058 §4)."""
    faults = _faults(mail)
    if not faults:
        passing = [one.signature for one in verdicts if one.passes]
        wanted = {"list-unsubscribe", "list-unsubscribe-post"}
        covering = [one for one in passing if wanted <= set(one.signed)]
        if passing and not covering:
            missing = ", ".join(sorted(wanted - set(passing[0].signed)))
            faults.append((f"{missing} isn't signed", "name both fields in h= of the signature"))
        elif not passing:
            faults.append(("no signature that verifies covers them", "sign both fields"))
    if faults and not subject.marketing:
        notes.passed("one-click", "List-Unsubscribe", "not demanded of transactional mail")
        return
    for found, mend in faults:
        notes.failed("one-click", "List-Unsubscribe", found, mend)
    if not faults:
        notes.passed("one-click", "List-Unsubscribe", f"{one_click_url(mail)}, signed")


def check_endpoint(subject: Subject, mail: Mail, notes: Notes) -> None:
    """Check what the address answered to a POST; RFC 8058 §3.1: no redirect, no cookies, no log-in."""
    url = one_click_url(mail)
    if not url:
        if subject.marketing:
            notes.unchecked("endpoint", "an HTTPS address in List-Unsubscribe")
        return
    answer = subject.endpoints.get(url)
    if answer is None:
        notes.unchecked("endpoint", "--probe, which posts to the address as a provider would")
        return
    found, mend = _wrong_answer(answer)
    if found:
        weight = Verdict.WARN if 200 <= answer.status < 300 else None
        notes.failed("endpoint", url, found, mend, weight)
    else:
        notes.passed("endpoint", url, f"{answer.status} in {answer.elapsed_ms} ms")


def check_visible_link(subject: Subject, mail: Mail, page: Page | None, notes: Notes) -> None:
    """Check that a reader finds the way out."""
    if not subject.marketing:
        return
    url = one_click_url(mail)
    links = page.links if page else ()
    fitting = [
        link for link in links if link.href == url or _words.search(f"{link.text} {link.href}")
    ]
    seen = [link for link in fitting if not link.hidden]
    mend = "put a link that says so at the end of the body: {{ unsubscribe_url }}"
    if seen:
        notes.passed("visible-link", "the HTML", f"{seen[0].text or '(image)'} → {seen[0].href}")
    elif fitting:
        notes.failed("visible-link", "the HTML", "the link is there but hidden", mend)
    elif mail.html is not None:
        notes.failed("visible-link", "the HTML", "no link to unsubscribe", mend)
    elif mail.text and ((url and url in mail.text) or _words.search(mail.text)):
        notes.passed("visible-link", "the text", "tells how to unsubscribe")
    else:
        notes.failed("visible-link", "the text", "doesn't tell how to unsubscribe", mend)


def _faults(mail: Mail) -> list[tuple[str, str]]:
    uris = _uris(mail)
    faults = []
    if not uris:
        mend = "add List-Unsubscribe: <https://…>, and List-Unsubscribe-Post: List-Unsubscribe=One-Click"
        return [("there is no List-Unsubscribe with an address in < >", mend)]
    if not one_click_url(mail):
        faults.append(
            (
                f"no HTTPS address, only {uris[0][:80]}",
                "add one; mailto alone doesn't count at Google",
            )
        )
    post = mail.first("list-unsubscribe-post")
    if post != _POST:
        found = (
            f"List-Unsubscribe-Post is {post[:80]!r}"
            if post
            else "there is no List-Unsubscribe-Post"
        )
        faults.append((found, f"add List-Unsubscribe-Post: {_POST}"))
    return faults


def _uris(mail: Mail) -> list[str]:
    return [uri for uri in _uri.findall(mail.first("list-unsubscribe")) if uri]


def _wrong_answer(answer: EndpointAnswer) -> tuple[str, str]:
    if not answer.status:
        return f"no answer: {answer.failure}", "look after the server and its certificate"
    if 300 <= answer.status < 400:
        return f"{answer.status} to {answer.location}", "answer the POST itself: no redirects"
    if answer.status in (401, 403):
        return f"{answer.status}", "ask for no log-in: the address has a token of its own"
    if not 200 <= answer.status < 300:
        return f"{answer.status}", "answer POST with 200"
    if answer.elapsed_ms > _SLOW_MS:
        return f"{answer.elapsed_ms:,} ms", "answer within 5 s: note the wish, then act on it"
    return "", ""
