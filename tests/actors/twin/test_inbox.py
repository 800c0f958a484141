"""The pages of the inbox, asked through Litestar's test client."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from actors.twin.inbox import application
from actors.twin.record import MailHead, Recorder

EVIL = "<script>steal()</script><img src=x onerror=steal()>"


def evil() -> bytes:
    message = EmailMessage()
    message["Subject"] = f"Subject {EVIL}"
    message["From"] = f'"{EVIL}" <a@s.example>'
    message["X-Evil"] = EVIL
    message.set_content(f"text {EVIL}")
    message.add_alternative(
        f"<p>html</p>{EVIL}<meta http-equiv=refresh content='0;url=https://evil.example'>"
        "<form action=https://evil.example><input></form><img src=https://evil.example/open.gif>",
        subtype="html",
    )
    message.add_attachment(b"x", maintype="a", subtype="b", filename=f"{EVIL}.bin")
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


EVIL_MAIL = evil()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Litestar]]:
    folder = tmp_path_factory.mktemp("twin")
    recorder = Recorder(folder)
    recorder.mail(MailHead(0, f"r{EVIL}@s", ((f"u{EVIL}@p", "plain"),), source=EVIL), EVIL_MAIL)
    for number in range(2, 62):
        content = b"Subject: mail %d\r\nFrom: <a@s.example>\r\n\r\ntext only\r\n" % number
        recorder.mail(MailHead(number, "", (("u@p.example", "wp-like"),)), content)
    recorder.close()
    with TestClient(application(folder, lambda _: None), base_url="http://127.0.0.1:8026") as made:
        yield made


class Tags(HTMLParser):
    """Collects the elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def policy(response: Any) -> dict[str, str]:
    header = response.headers["content-security-policy"]
    return {
        name: rest for name, _, rest in (part.strip().partition(" ") for part in header.split(";"))
    }


@pytest.mark.parametrize(
    "path",
    [
        "/?q=script",
        "/mails/1",
        "/mails/1?view=text",
        "/mails/1?view=headers",
        "/mails/1?view=parts",
        "/mails/1?view=source",
        "/?q=<script>steal()</script>",
        "/mails/1?view=<script>",
    ],
)
def test_nothing_of_a_mail_becomes_markup(client: TestClient[Litestar], path: str) -> None:
    """Subject, addresses, text, fields, file names, source and search words stay text in our pages."""
    answer = client.get(path)
    assert answer.status_code == 200
    tags = Tags(answer.text)
    scripts = [attributes.get("src") for tag, attributes in tags.found if tag == "script"]
    assert scripts in ([], ["/static/inbox.js"])
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert "steal()" in tags.text or "value" in answer.text
    ours = policy(answer)
    assert ours["default-src"] == "'none'"
    assert ours["script-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_html_of_a_mail_can_do_nothing(client: TestClient[Litestar]) -> None:
    """It is served under a policy without scripts, forms and remote loads, and framed without an origin."""
    answer = client.get("/mails/1/html")
    assert "<script>steal()</script>" in answer.text
    theirs = policy(answer)
    assert theirs["default-src"] == "'none'"
    assert theirs["img-src"] == "data:"
    assert theirs["form-action"] == "'none'"
    assert theirs["base-uri"] == "'none'"
    assert "script-src" not in theirs
    assert "connect-src" not in theirs
    assert set(theirs["sandbox"].split()) == {"allow-popups", "allow-popups-to-escape-sandbox"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    frames = [one for tag, one in Tags(client.get("/mails/1").text).found if tag == "iframe"]
    assert len(frames) == 1
    assert frames[0]["src"] == "/mails/1/html"
    assert frames[0]["title"]
    sandbox = frames[0]["sandbox"] or ""
    assert "allow-scripts" not in sandbox
    assert "allow-same-origin" not in sandbox


def test_raw_is_a_download(client: TestClient[Litestar]) -> None:
    """The source comes as a file, octet by octet, and never as a page."""
    answer = client.get("/mails/1/raw")
    assert answer.content == EVIL_MAIL
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_list_pages_and_search(client: TestClient[Litestar]) -> None:
    """Fifty mails a page, the newest first; a search keeps its words from page to page."""

    def links(path: str) -> list[str]:
        tags = Tags(client.get(path).text).found
        return [one["href"] or "" for tag, one in tags if tag == "a" and one.get("class") == "mail"]

    assert [link.partition("?")[0] for link in links("/")][:2] == ["/mails/61", "/mails/60"]
    assert len(links("/")) == 50
    assert len(links("/?page=2")) == 11
    assert links("/?page=3") == []
    assert links("/?q=wp-like&page=2")[-1] == "/mails/2?q=wp-like&page=2"
    assert "/?q=wp-like&page=2" in [
        one.get("href") for _, one in Tags(client.get("/?q=wp-like").text).found
    ]
    assert "No caught mail" in client.get("/?q=nowhere").text
    hrefs = [one.get("href") for _, one in Tags(client.get("/mails/3?q=wp-like&page=2").text).found]
    assert "/?q=wp-like&page=2" in hrefs
    assert "/mails/2?q=wp-like&page=2" in hrefs
    assert "/mails/3?q=wp-like&page=2&view=source" in hrefs


def test_a_mail_without_html_shows_its_text(client: TestClient[Litestar]) -> None:
    """The first view that a mail has is shown; one that it hasn't isn't offered."""
    page = client.get("/mails/5").text
    assert "text only" in page
    assert "view=html" not in page
    assert client.get("/mails/5/html").status_code == 404


def test_api(client: TestClient[Litestar]) -> None:
    """The same list as JSON, and the number of the newest mail."""
    assert client.get("/api/newest").json() == {"newest": 61}
    answer = client.get("/api/mails", params={"q": "mail 61"}).json()
    assert answer["total"] == 1
    assert answer["mails"][0]["subject"] == "mail 61"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/mails/62", 404),
        ("/mails/0", 400),
        ("/mails/99999999999999999999", 400),
        ("/mails/x", 404),
        ("/?page=0", 400),
        ("/?page=abc", 400),
        ("/?q=" + "x" * 300, 400),
        ("/static/render.py", 404),
        ("/static/..%2frender.py", 404),
        ("/nothing", 404),
    ],
)
def test_problems(client: TestClient[Litestar], path: str, status: int) -> None:
    """What isn't there, or makes no sense, is a page that says so, under the same policy."""
    answer = client.get(path)
    assert answer.status_code == status
    assert policy(answer)["default-src"] == "'none'"
    assert "Show all mail" in answer.text


def test_foreign_host_names_are_refused(client: TestClient[Litestar]) -> None:
    """A web page can't read the mails by letting its own name point at this machine."""
    for host in (
        "evil.example",
        "evil.example:8026",
        "localhost.evil.example",
        "127.0.0.1.evil",
        "",
    ):
        answer = client.get("/", headers={"host": host})
        assert answer.status_code == 421
        assert "Caught" not in answer.text
    for host in ("localhost", "127.0.0.1:1", "[::1]:8026"):
        assert client.get("/", headers={"host": host}).status_code == 200


def test_assets_come_from_here_alone(client: TestClient[Litestar]) -> None:
    """Style, script and icon are our own; nothing names another server."""
    for name in ("inbox.css", "inbox.js", "icon.svg"):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
    for path in ("/", "/mails/5"):
        for _, attributes in Tags(client.get(path).text).found:
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#"))


def test_an_absent_folder_is_an_empty_inbox(tmp_path: Path) -> None:
    """Before the first mail the page says what to do."""
    app = application(tmp_path / "none", lambda _: None)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert "Nothing was caught yet" in client.get("/").text
        assert client.get("/api/newest").json() == {"newest": 0}
