"""The inbox: pages that show the mails a twin caught. For loopback, for one person, without an account.

Caught mail is hostile: it may carry scripts, forms, pictures on other servers. Its HTML is served
at an address of its own under a policy that lets it run nothing and load nothing, and is shown in
a sandboxed frame without an origin; all else of a mail passes through templates that escape.
Requests under a foreign host name are refused, so that no web page can read the mails by pointing
a name of its own at this machine.
"""

from __future__ import annotations

__all__ = ("LOOPBACK_NAMES", "application")

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import PathParameter, QueryParameter

from actors.twin.caught import Caught, CaughtMail, Summary
from actors.twin.pages.render import Pages
from actors.twin.signatures import KeyLookup

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Host names under which the inbox answers."""

PAGE_MAILS = 50
"""Mails on one page of the list."""
_SEARCH_CHARS_MAX = 200

_NO_SNIFFING = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-DNS-Prefetch-Control": "off",
    "Cache-Control": "no-store",
}
_OURS = _NO_SNIFFING | {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}
_THEIRS = _NO_SNIFFING | {
    # No script, no form, nothing from any server: only what the mail itself brought.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'self'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    )
}
_ASSETS = {"inbox.css": "text/css", "inbox.js": "text/javascript", "icon.svg": "image/svg+xml"}

_Words = Annotated[str, QueryParameter(max_length=_SEARCH_CHARS_MAX)]
_PageNumber = Annotated[int, QueryParameter(ge=1, le=1_000_000)]
_Choice = Annotated[str, QueryParameter(max_length=20)]
_Number = Annotated[int, PathParameter(ge=1, le=10**12)]


class Newest(msgspec.Struct, frozen=True):
    """The number of the newest mail, 0 where there is none."""

    newest: int


class Found(msgspec.Struct, frozen=True):
    """A page of search results."""

    total: int
    mails: list[Summary]


def application(
    folder: Path, look_up: KeyLookup, hosts: tuple[str, ...] = LOOPBACK_NAMES
) -> Litestar:
    """Make the ASGI application for a twin's folder; `look_up` gives the public keys of signatures."""
    return Litestar(
        [_list, _mail, _html, _raw, _newest, _search, _asset],
        state=State({"caught": Caught(folder), "pages": Pages(folder, look_up), "hosts": hosts}),
        before_request=_only_our_hosts,
        exception_handlers={HTTPException: _problem},
        openapi_config=None,
    )


def _only_our_hosts(request: Request[Any, Any, State]) -> Response[str] | None:
    host = request.headers.get("host", "").lower()
    name = host[: host.index("]") + 1] if "]" in host else host.partition(":")[0]
    if name in request.app.state.hosts:
        return None
    detail = "The inbox answers under the names of this machine's loopback address alone.\n"
    return Response(detail, media_type=MediaType.TEXT, status_code=421)


@get("/", sync_to_thread=True)
def _list(state: State, q: _Words = "", page: _PageNumber = 1) -> Response[str]:
    caught: Caught = state.caught
    words = " ".join(q.split())
    total, found = caught.search(words, (page - 1) * PAGE_MAILS, PAGE_MAILS)
    pages: Pages = state.pages
    newest = (caught.numbers() or range(1))[-1]
    return _page(pages.list(words, page, PAGE_MAILS, total, found, newest))


@get("/mails/{number:int}", sync_to_thread=True)
def _mail(
    state: State,
    number: _Number,
    view: _Choice = "",
    width: _Choice = "",
    q: _Words = "",
    page: _PageNumber = 1,
) -> Response[str]:
    mail = _found(state, number)
    pages: Pages = state.pages
    numbers = state.caught.numbers()
    beside = (
        number + 1 if number + 1 in numbers else 0,
        number - 1 if number - 1 in numbers else 0,
    )
    carried = {"q": q, "page": str(page)} if q or page > 1 else {}
    return _page(pages.mail(mail, view, carried, beside, phone=width == "phone"))


@get("/mails/{number:int}/html", sync_to_thread=True)
def _html(state: State, number: _Number) -> Response[str]:
    html = state.pages.html(_found(state, number))
    if html is None:
        raise NotFoundException("This mail has no HTML part.")
    return Response(html, media_type=MediaType.HTML, headers=_THEIRS)


@get("/mails/{number:int}/raw", sync_to_thread=True)
def _raw(state: State, number: _Number) -> Response[bytes]:
    content = _found(state, number).content
    name = f'attachment; filename="mail-{number}.eml"'
    headers = _THEIRS | {"Content-Disposition": name}
    return Response(content, media_type="message/rfc822", headers=headers)


@get("/api/newest", sync_to_thread=True)
def _newest(state: State) -> Response[Newest]:
    numbers = state.caught.numbers()
    return Response(Newest(numbers[-1] if numbers else 0), headers=_NO_SNIFFING)


@get("/api/mails", sync_to_thread=True)
def _search(state: State, q: _Words = "", page: _PageNumber = 1) -> Response[Found]:
    total, found = state.caught.search(q, (page - 1) * PAGE_MAILS, PAGE_MAILS)
    return Response(Found(total, found), headers=_NO_SNIFFING)


@get("/static/{name:str}", sync_to_thread=True)
def _asset(state: State, name: Annotated[str, PathParameter(max_length=100)]) -> Response[bytes]:
    kind = _ASSETS.get(name)
    if kind is None:
        raise NotFoundException("There is no such file.")
    headers = _NO_SNIFFING | {"Cache-Control": "max-age=300"}
    return Response(state.pages.asset(name), media_type=kind, headers=headers)


def _found(state: State, number: int) -> CaughtMail:
    mail: CaughtMail | None = state.caught.mail(number)
    if mail is None:
        raise NotFoundException(f"Mail {number} isn't there; only the newest mails are kept.")
    return mail


def _page(html: str) -> Response[str]:
    return Response(html, media_type=MediaType.HTML, headers=_OURS)


def _problem(request: Request[Any, Any, State], error: HTTPException) -> Response[str]:
    titles: Mapping[int, str] = {404: "Not here", 400: "Not understood"}
    title = titles.get(error.status_code, "That didn't work")
    html = request.app.state.pages.problem(title, error.detail)
    return Response(html, media_type=MediaType.HTML, headers=_OURS, status_code=error.status_code)
