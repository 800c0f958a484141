"""What recipients are shown: answers, pages and the pixel. No script, no cookie, nothing loaded from elsewhere."""

from __future__ import annotations

__all__ = ("NO_STORE", "PAGE", "PIXEL", "PLAIN", "Answer", "gone", "later", "page")

import html

import msgspec

from actors.tracking.words import Words

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00"
    b"\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
NO_STORE = (b"cache-control", b"no-store, private")
PLAIN = ((b"content-type", b"text/plain; charset=utf-8"), NO_STORE)
PAGE = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    ),
    (b"referrer-policy", b"no-referrer"),
    NO_STORE,
)


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def page(words: Words, title: str, content: str = "", more: str = "") -> bytes:
    """Make a page; `content` is HTML of our own, the title and `more`, a sentence below it, are text."""
    shown = html.escape(title)
    said = f"<p>{html.escape(more)}</p>\n" if more else ""
    return f"""<!doctype html>
<html lang="{words.language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{shown}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{shown}</h1>
{said}{content}
</main>
</body>
</html>
""".encode()


_STYLE = """
:root { color-scheme: light dark; --page: #f1f4f6; --card: #fff; --ink: #1c2733; --soft: #55626f;
  --line: #dfe5e9; --act: #0b5d57; --on-act: #fff; }
@media (prefers-color-scheme: dark) { :root { --page: #10161a; --card: #1b242b; --ink: #e9eff2;
  --soft: #aebbc4; --line: #33404a; --act: #7fdcd0; --on-act: #06231f; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 12vh 16px 32px; background: var(--page); color: var(--ink);
  font: 17px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 30rem; margin: 0 auto; padding: 36px 32px; background: var(--card);
  border-radius: 14px; }
h1 { margin: 0 0 12px; font-size: 1.55rem; line-height: 1.25; text-wrap: balance; }
p { margin: 0 0 20px; color: var(--soft); }
p:last-child { margin-bottom: 0; }
fieldset { margin: 0 0 24px; padding: 0; border: 0; }
label { display: flex; gap: 12px; align-items: center; padding: 12px 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; cursor: pointer; }
input { flex: none; width: 22px; height: 22px; margin: 0; accent-color: var(--act); }
button { width: 100%; min-height: 48px; margin: 0 0 20px; padding: 10px 20px; border: 0;
  border-radius: 8px; background: var(--act); color: var(--on-act); font: inherit;
  font-weight: 700; cursor: pointer; }
form:last-child button { margin-bottom: 0; }
a { color: var(--act); }
:focus-visible { outline: 3px solid var(--act); outline-offset: 3px; }
@media (max-width: 480px) { body { padding-top: 24px; } main { padding: 28px 22px; } }
"""


def gone(words: Words) -> Answer:
    """Say that a link leads nowhere: unknown, forged or too old, which isn't told apart."""
    return Answer(404, PAGE, page(words, words.gone, more=words.gone_more))


def later(words: Words) -> Answer:
    """Say that nothing was done."""
    return Answer(503, (*PAGE, (b"retry-after", b"10")), page(words, words.later))
