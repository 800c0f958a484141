"""Whether a known reporter's signature covers a mail: keys from DNS, verified by dkimpy, in a thread.

Only signatures of known reporters are looked at, so that a stranger's mail costs no DNS question and no 10 ms of CPU.
One that covers less than the whole body (`l=`, RFC 6376 §3.5) proves nothing of what stands behind.
"""

from __future__ import annotations

__all__ = ("KeyOf", "known_signers")

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable

from actors.twin.signatures import verify
from deliverability.feedback.attribution import Signer, reporter_of

KeyOf = Callable[[str], Awaitable[bytes | None]]
"""Gives the text of a TXT record by its name; None: there is none, or it can't be had now."""

SIGNATURES_MAX = 4
_FIELD = re.compile(
    rb"^dkim-signature[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE
)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


async def known_signers(mail: bytes, key_of: KeyOf, more: Iterable[str] = ()) -> tuple[Signer, ...]:
    """Verify the signatures of known reporters on a mail."""
    head = mail[: 256 * 1024].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    names: dict[str, str] = {}
    for field in _FIELD.findall(head)[:SIGNATURES_MAX]:
        tags = dict(_tags(field))
        domain, selector = tags.get("d", "").lower(), tags.get("s", "").lower()
        whole = _NAME.fullmatch(domain) and _NAME.fullmatch(selector) and "l" not in tags
        if whole and reporter_of((Signer(domain),), more):
            names[f"{selector}._domainkey.{domain}"] = domain
    if not names:
        return ()
    keys = {name: await key_of(name) for name in names}
    content = re.sub(rb"\r?\n", b"\r\n", mail)
    _, verdicts = await asyncio.to_thread(verify, content, keys.get)
    good = {
        f"{one.selector}._domainkey.{one.domain}".lower()
        for one in verdicts
        if one.verdict == "pass"
    }
    return tuple(Signer(domain) for name, domain in names.items() if name in good)


def _tags(field: bytes) -> Iterable[tuple[str, str]]:
    text = re.sub(r"\s+", "", field.decode("ascii", "replace"))
    for tag in text.split(";"):
        name, equals, value = tag.partition("=")
        if equals:
            yield name, value[:300]
