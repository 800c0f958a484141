"""What recipients are shown: answers, pages and the pixel. No script, no cookie, nothing loaded from elsewhere."""

from __future__ import annotations

__all__ = ("GONE", "LATER", "NO_STORE", "PAGE", "PIXEL", "PLAIN", "Answer", "page")

import html

import msgspec

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


def page(title: str, content: str) -> bytes:
    """Make a page; `content` is HTML of our own, the title is text."""
    shown = html.escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown}</title>
<style>
body {{ font: 18px/1.5 system-ui, sans-serif; text-align: center;
  max-width: 32rem; margin: 15vh auto; padding: 0 1.5rem; }}
h1 {{ font-size: 1.6rem; }}
button {{ font: inherit; padding: .6em 1.6em; border: 0; border-radius: .5em;
  background: #a5371f; color: #fff; cursor: pointer; }}
</style>
</head>
<body>
<main>
<h1>{shown}</h1>
{content}
</main>
</body>
</html>
""".encode()


GONE = Answer(404, PAGE, page("This link is no longer valid", ""))
LATER = Answer(503, (*PAGE, (b"retry-after", b"10")), page("Please try again in a moment", ""))
