"""Rendering of the inbox's pages: what the templates are given."""

from __future__ import annotations

__all__ = ("VIEWS", "Pages")

import datetime as dt
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import minijinja

from actors.twin.caught import CaughtMail, Summary
from actors.twin.reading import Readable, read, summarize
from actors.twin.signatures import KeyLookup, Verdict, verify

VIEWS = ("html", "text", "headers", "parts", "source")
"""Ways to look at a mail."""

_TITLES = {
    "html": "HTML",
    "text": "Text",
    "headers": "Headers",
    "parts": "Parts",
    "source": "Source",
}
_VERDICTS: dict[Verdict, str] = {
    "pass": "Signature valid",
    "fail": "Signature not valid",
    "none": "Not signed",
    "unknown": "Can't be verified",
}
_HUES = 8
_SOURCE_OCTETS_MAX = 2 * 1024 * 1024
_FOLDER = Path(__file__).parent


class Pages:
    """The pages of one inbox. Rendering is a function of its arguments and of the key look-up."""

    def __init__(self, folder: Path, look_up: KeyLookup) -> None:
        self._look_up = look_up
        self._templates = minijinja.Environment(
            templates={path.name: path.read_text("utf-8") for path in _FOLDER.glob("*.html")},
            globals={"folder": str(folder), "words": ""},
        )
        self._assets = {
            path.name: path.read_bytes()
            for path in _FOLDER.iterdir()
            if path.suffix in (".css", ".js", ".svg")
        }

    def asset(self, name: str) -> bytes:
        """Give a file of style, script or picture."""
        return self._assets[name]

    def problem(self, title: str, detail: str) -> str:
        """Render what is shown when a page can't be."""
        return self._render("problem.html", title=title, detail=detail)

    def html(self, mail: CaughtMail) -> str | None:
        """Give the HTML part of a mail as it is, to be served under a policy that holds it; None without one."""
        html = read(mail.content).html
        # Links lead to a tab of their own: inside the frame they would be refused.
        return None if html is None else f'<base target="_blank">{html}'

    def list(
        self, words: str, page: int, page_mails: int, total: int, found: list[Summary], newest: int
    ) -> str:
        """Render a page of the list."""
        pages = max(1, -(-total // page_mails))
        carried = {"q": words} if words else {}

        def to(number: int) -> str:
            return "/?" + urlencode({**carried, "page": number})

        return self._render(
            "list.html",
            words=words,
            newest=newest,
            total_text="1 mail" if total == 1 else f"{total:,} mails",
            mails=[_row(summary) for summary in found],
            carry="?" + urlencode({**carried, "page": page}) if words or page > 1 else "",
            page=page,
            pages=pages,
            previous=to(page - 1) if page > 1 else "",
            next=to(page + 1) if page < pages else "",
        )

    def mail(
        self,
        mail: CaughtMail,
        view: str,
        carried: Mapping[str, str],
        beside: tuple[int, int],
        *,
        phone: bool,
    ) -> str:
        """Render the page of one mail; a view that it doesn't have gives way to one that it has.

        `carried` is the query of the list that the reader came from, `beside` the numbers of the next newer
        and the next older mail, 0 where there is none.
        """

        def to(number: int, **more: str) -> str:
            query = urlencode({**carried, **more})
            return f"/mails/{number}" + (f"?{query}" if query else "")

        newer, older = beside
        readable = read(mail.content)
        summary = summarize(mail.content)
        verdict, signatures = verify(mail.content, self._look_up)
        views = _views(readable)
        if view not in views:
            view = views[0]
        head = mail.head
        return self._render(
            "mail.html",
            number=mail.number,
            subject=summary.subject or "(no subject)",
            sender=summary.sender or "(no From)",
            recipients=head.recipients,
            reverse_path=head.reverse_path,
            iso=_iso(head.at),
            when=_when(head.at),
            size=_size(len(mail.content)),
            tls=head.tls,
            source=head.source,
            verdict=verdict,
            verdict_text=_VERDICTS[verdict],
            signatures=signatures,
            tabs=[
                {
                    "name": _TITLES[one],
                    "href": to(mail.number, view=one),
                    "current": one == view,
                }
                for one in views
            ],
            view=view,
            phone=phone,
            wide=to(mail.number, view="html"),
            narrow=to(mail.number, view="html", width="phone"),
            back=f"/?{urlencode(carried)}" if carried else "/",
            newer=to(newer) if newer else "",
            older=to(older) if older else "",
            left_out=_left_out(readable, mail, view),
            text=readable.text,
            fields=readable.fields,
            parts=[
                {
                    "content_type": part.content_type,
                    "file_name": part.file_name,
                    "size": _size(part.size),
                    "inline": part.inline,
                }
                for part in readable.parts
            ],
            raw=mail.content[:_SOURCE_OCTETS_MAX].decode("utf-8", "replace")
            if view == "source"
            else "",
        )

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.render_template(template, **values)


def _views(readable: Readable) -> tuple[str, ...]:
    absent = {
        "html": readable.html is None,
        "text": readable.text is None,
        "headers": not readable.fields,
        "parts": not readable.parts,
    }
    return tuple(view for view in VIEWS if not absent.get(view))


def _left_out(readable: Readable, mail: CaughtMail, view: str) -> tuple[str, ...]:
    if view == "source" and len(mail.content) > _SOURCE_OCTETS_MAX:
        return (*readable.left_out, "the source beyond its first 2 MiB")
    return readable.left_out


def _row(summary: Summary) -> dict[str, Any]:
    sender = summary.sender or "(no From)"
    name = sender.partition("<")[0].strip().strip('"') or sender
    return {
        "number": summary.number,
        "sender": name,
        "initial": next((letter for letter in name.upper() if letter.isalnum()), "?"),
        "hue": zlib.crc32(name.encode()) % _HUES,
        "subject": summary.subject or "(no subject)",
        "to": ", ".join(summary.recipients),
        "providers": summary.providers,
        "iso": _iso(summary.at),
        "when": _when(summary.at),
        "size": _size(summary.size),
    }


def _time(at_ms: int) -> dt.datetime:
    """Make a time; what no calendar holds is shown as the last day of it."""
    try:
        return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return dt.datetime.max.replace(tzinfo=dt.UTC)


def _iso(at_ms: int) -> str:
    return _time(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def _when(at_ms: int) -> str:
    return _time(at_ms).strftime("%Y-%m-%d %H:%M")


def _size(octets: int) -> str:
    if octets < 1000:
        return f"{octets} B"
    return f"{octets / 1000:.1f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"
