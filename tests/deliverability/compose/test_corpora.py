"""Real mail and real templates: raw messages pass unharmed, derived text keeps words and links.

The corpora lie in ../shared and are not ours to ship.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import dkim
import pytest

from deliverability.compose.composer import Skeleton
from deliverability.compose.lexer import normal_source
from deliverability.compose.raw import prepare_raw
from deliverability.compose.template import Profile, Tracking
from deliverability.dkim.foreign import sign_foreign
from deliverability.dkim.keys import dns_record, generate_pem, load_key
from deliverability.tokens import KeyRing
from engine.errors import InputError
from tests.deliverability.compose.letters import NOW, letter, parts, template

CORPORA = Path(__file__).parents[4] / "shared" / "corpora"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPORA.is_dir(), reason="needs ../shared beside the checkout"),
]
TRACKED = Profile(keys=KeyRing(1, {1: b"k" * 32}), tracking=Tracking("go.example"))


def _files(archive: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(CORPORA / archive) as opened:
        for member in opened:
            if member.isfile() and (handle := opened.extractfile(member)):
                yield member.name, handle.read()


def _same_lines(raw: bytes) -> list[bytes]:
    return re.split(rb"\r*\n|\r", raw.rstrip(b"\r\n"))


def test_raw_messages() -> None:
    """Each is refused with a reason, or its lines come out as they were, after what was added; and is signed."""
    key = load_key(generate_pem("ed25519-sha256"), "sender.example", "e1")
    record = dns_record(key).encode()
    passed = 0
    for name, raw in _files("mime-messages/messages.tar.gz"):
        try:
            message = prepare_raw(raw, NOW, "id@sender.example")
        except InputError:
            continue
        whole = message.headers + b"\r\n" + message.body
        shown = _without_private(_same_lines(raw))
        assert shown == _same_lines(whole)[len(message.added) :], name
        assert not set(whole.replace(b"\r\n", b"")) & set(b"\r\n\0"), name
        signature = sign_foreign(message.headers, message.body, [key], NOW)
        assert dkim.verify(signature + whole, dnsfunc=lambda *_, **__: record), name
        passed += 1
    assert passed > 150


def _without_private(lines: list[bytes]) -> list[bytes]:
    """Leave out what no recipient may be shown: Bcc (RFC 5322 §3.6.3) and Return-Path (RFC 5321 §4.4)."""
    end = lines.index(b"") if b"" in lines else len(lines)
    kept: list[bytes] = []
    private = False
    for line in lines[:end]:
        if not line.startswith((b" ", b"\t")):
            name = line.partition(b":")[0].strip().lower()
            private = name in (b"bcc", b"resent-bcc", b"return-path")
        if not private:
            kept.append(line)
    return kept + lines[end:]


class _Visible(HTMLParser):
    """What the standard library finds: words outside of hidden elements, and links."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        hides = tag in ("style", "script", "title") or re.search(
            r"display\s*:\s*none", values.get("style") or ""
        )
        if (self._hidden and tag == self._hidden[-1]) or (hides and tag not in ("img", "br")):
            self._hidden.append(tag)
        if tag == "a" and (values.get("href") or "").startswith("http"):
            self.links.append((values.get("href") or "").strip())

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag == self._hidden[-1]:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += [word for word in data.split() if re.search(r"\w", word)]


def _visible(html: str) -> _Visible:
    parser = _Visible()
    parser.feed(html)
    parser.close()
    return parser


def test_templates() -> None:
    """HTML comes out as it went in; the text has every word and link; tracking rewrites all links and no text."""
    count = 0
    for name, raw in _files("html-templates/templates.tar.gz"):
        if not name.endswith((".html", ".htm")):
            continue
        source = normal_source(re.sub(r"\{(?=[{%#])", "(", raw.decode("utf-8", "replace")))
        skeleton = Skeleton(template(source), TRACKED)
        plain = parts(skeleton.compose(letter()))
        assert plain["text/html"] == normal_source(source), name
        seen, text = _visible(source), " ".join(plain["text/plain"].split())
        assert [word for word in seen.words if word not in text] == [], name
        assert [link for link in seen.links if " ".join(link.split()) not in text] == [], name
        tracked = _visible(parts(skeleton.compose(letter(stream="marketing")))["text/html"])
        assert tracked.words == seen.words, name
        assert all(link.startswith("https://go.example/c/") for link in tracked.links), name
        count += 1
    assert count > 50
