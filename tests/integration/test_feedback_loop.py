"""Feedback end to end over real sockets: send, a bounce comes back later, the address is suppressed, no more goes."""

from __future__ import annotations

import json
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.worker.assembly import secret_of
from deliverability import tokens
from deliverability.leaving import Leaving, seal
from engine.config import Tenant
from engine.keyspace import contact_key
from tests.integration.instance import Running, prepare, run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

PATIENCE_S = 30.0
REFUSED = ("suppressed", "skipped")
BOUND_S = 2.0  # stated: docs/suppression.md

DSN = """\
From: MAILER-DAEMON@mx.example.net
To: {path}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Auto-Submitted: auto-replied
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

The mailbox of this recipient does not exist.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: user unknown

--b--
"""

ARF = """\
From: <staff@fbl.example.net>
To: fbl@shop.example
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

An abuse report.

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Test/1
Version: 1

--b
Content-Type: message/rfc822

Return-Path: <{path}>
From: hello@shop.example
To: {recipient}
Subject: Hello

Hello.

--b--
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Instance:
    """`veredus up` with a listener for what comes back."""

    def __init__(self, folder: Path) -> None:
        prepare(folder)
        self.folder = folder
        self.port = free_port()
        config = (folder / "veredus.toml").read_text()
        inbound = f'\n[inbound]\nport = {self.port}\nreport_addresses = ["fbl@shop.example"]\n'
        (folder / "veredus.toml").write_text(config + inbound)
        self.up = Running(folder)

    def subscribe(self, contact: str) -> None:
        body = {
            "contact": contact,
            "attributes": {"email": f"{contact}@inbox.example", "first_name": contact},
            "consents": [{"topic": "marketing", "granted": True, "source": "test"}],
        }
        assert self.up.give("PUT", "/v1/contacts", body).status_code == 200

    def signup(self, contact: str, number: int) -> None:
        event = {"id": f"{contact}{number}", "name": "signup", "contact": contact}
        assert self.up.give("POST", "/v1/events", event).status_code == 200

    def outcomes(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.up.get("/v1/outcomes", limit=1000)["items"]
        return items

    def await_outcome(self, contact: str, kind: str, number: int = 1) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = [o for o in self.outcomes() if (o["contact"], o["kind"]) == (contact, kind)]
            return found[number - 1] if len(found) >= number else None

        found: dict[str, Any] = until(look, lambda: f"{contact} {kind} among {self.outcomes()}")
        return found

    def path_of(self, contact: str) -> str:
        """Read from the twin's record whom mail to a contact came from."""

        def look() -> str | None:
            record = self.folder / "data" / "twin" / "received.ndjson"
            for line in record.read_text().splitlines() if record.exists() else ():
                if f"{contact}@inbox.example" in line:
                    path: str = json.loads(line)["reverse_path"]
                    return path.strip("<>")
            return None

        found: str = until(look, lambda: contact)
        return found

    def come_back(self, to: str, mail: str) -> None:
        """Send as the provider's server would: by SMTP, from the null reverse-path."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as server:
            server.sendmail("", [to], mail.replace("\n", "\r\n").encode())

    def await_bound(self) -> None:
        """Let the time pass after which no mail to a suppressed address begins."""
        time.sleep(BOUND_S)

    def suppressed(self, address: str) -> list[str]:
        answer = self.up.give("POST", "/v1/suppressions/check", {"address": address}).json()
        return [entry["reason"] for entry in answer["entries"]]


def until(look: Callable[[], Any], what: Callable[[], str]) -> Any:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"it never came: {what()}")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    made = Instance(tmp_path_factory.mktemp("loop"))
    yield made
    made.up.finish()


def test_a_bounce_that_comes_later_ends_the_sending(instance: Instance) -> None:
    """Delivered, then a DSN to the signed reverse-path: returned, suppressed, and the next send is refused."""
    instance.subscribe("ann")
    instance.signup("ann", 1)
    sent = instance.await_outcome("ann", "delivered")
    path = instance.path_of("ann")
    mail = DSN.format(path=path, recipient="ann@inbox.example")
    instance.come_back(path, mail)
    instance.come_back(path, mail)  # the other side repeats itself: once is enough
    back = instance.await_outcome("ann", "returned")
    assert (sent["message_id"], "mailbox-unknown") == (back["message_id"], back["cause"])
    until(
        lambda: instance.suppressed("ann@inbox.example") == ["hard-bounce"], lambda: "suppression"
    )
    instance.await_bound()
    instance.signup("ann", 2)
    instance.await_outcome("ann", "suppressed")
    contact = instance.up.get("/v1/contacts/ann")
    assert contact["counts"]["mail.bounced"] == 1, "a journey can react to it, once"
    told = instance.up.get(f"/v1/messages/{sent['message_id']}/explain")
    assert "returned" in json.dumps(told["lines"])
    assert told["message"]["state"] == "delivered", "the law isn't moved by what comes later"
    assert len([o for o in instance.outcomes() if o["kind"] == "returned"]) == 1


def test_a_forged_reverse_path_is_refused_and_counted(instance: Instance) -> None:
    """One changed character: 550 at RCPT, nobody suppressed, counted by its reason; other addresses too."""
    instance.subscribe("bob")
    instance.signup("bob", 1)
    instance.await_outcome("bob", "delivered")
    path = instance.path_of("bob")
    forged = path[:20] + ("a" if path[20] != "a" else "b") + path[21:]
    for wrong in (forged, "postmaster@shop.example", "someone@elsewhere.example"):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            instance.come_back(wrong, DSN.format(path=wrong, recipient="bob@inbox.example"))
        assert next(iter(refused.value.recipients.values()))[0] == 550
    view = instance.up.get("/v1/feedback")
    assert view["listener"]["refused path bad_signature"] == 1
    assert instance.suppressed("bob@inbox.example") == []


def test_a_complaint_suppresses_only_whom_it_proves(instance: Instance) -> None:
    """An ARF report that carries our signed path is believed; one that names another recipient is not."""
    for contact in ("cat", "dan"):
        instance.subscribe(contact)
        instance.signup(contact, 1)
        instance.await_outcome(contact, "delivered")
    path = instance.path_of("cat")
    forged = ARF.format(path="v-" + "a" * 56 + "@shop.example", recipient="dan@inbox.example")
    instance.come_back("fbl@shop.example", forged)
    instance.come_back("fbl@shop.example", ARF.format(path=path, recipient="dan@inbox.example"))
    instance.await_outcome("cat", "complained")
    until(lambda: instance.suppressed("cat@inbox.example") == ["complaint"], lambda: "suppression")
    assert instance.suppressed("dan@inbox.example") == []
    view = instance.up.get("/v1/feedback")
    assert view["mails"]["smtp complaint refused unproven"] == 1


def test_what_is_imported_counts_once(instance: Instance) -> None:
    """The importer reads an mbox and a maildir, and giving them again changes nothing."""
    instance.subscribe("eve")
    instance.signup("eve", 1)
    instance.await_outcome("eve", "delivered")
    path = instance.path_of("eve")
    box = instance.folder / "box"
    mail = DSN.format(path=path, recipient="eve@inbox.example")
    other = DSN.format(path="v-nobody@shop.example", recipient="x@inbox.example")
    box.write_text(
        f"From MAILER-DAEMON Mon Jan  1 00:00:00 2024\n{mail}\n"
        f"From MAILER-DAEMON Mon Jan  1 00:00:00 2024\n{other}\n"
    )
    results = []
    for _ in range(2):
        done = run(instance.folder, "feedback", "import", "--json", str(box), "--data", "data")
        assert done.returncode == 0, done.stderr
        results.append([json.loads(line)["result"] for line in done.stdout.splitlines()])
    assert results == [["told", "refused"], ["repeated", "refused"]]
    instance.await_outcome("eve", "returned")


def test_the_list_by_command(instance: Instance) -> None:
    """Add, check, refuse to send, export, remove; all of it on record, without an address in the log."""
    folder = instance.folder
    instance.subscribe("fay")
    added = run(
        folder,
        "suppression",
        "add",
        "Fay@Inbox.example",
        "--why",
        "asked by phone",
        "--data",
        "data",
    )
    assert (added.returncode, added.stdout) == (0, "1 on the list\n"), added.stderr
    checked = run(folder, "suppression", "check", "fay@inbox.example", "--json", "--data", "data")
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["suppressed"]
    instance.await_bound()
    instance.signup("fay", 1)
    instance.await_outcome("fay", "suppressed")
    export = run(
        folder, "suppression", "export", "--form", "ses", "--reason", "manual", "--data", "data"
    )
    listed = json.loads(export.stdout)["SuppressedDestinationSummaries"]
    assert [one["EmailAddress"] for one in listed] == ["fay@inbox.example"], export.stderr
    removed = run(folder, "suppression", "remove", "fay@inbox.example", "--data", "data")
    assert removed.returncode == 0
    again = run(folder, "suppression", "check", "fay@inbox.example", "--data", "data")
    assert again.returncode == 0, again.stdout
    audit = json.loads(run(folder, "audit", "--json", "--data", "data").stdout)
    actions = [one["action"] for one in audit["items"]]
    assert {"suppress", "unsuppress"} <= set(actions)
    assert "inbox.example" not in json.dumps(audit)
    ways = folder / "list.csv"
    ways.write_text("email,reason\ngil@inbox.example,Spam complaint\nnot an address,x\n")
    taken = run(folder, "suppression", "import", str(ways), "--json", "--data", "data")
    assert (taken.returncode, json.loads(taken.stdout)["taken"]) == (1, 1)
    assert instance.suppressed("gil@inbox.example") == ["complaint"]


def test_unsubscribing_holds_for_mail_that_is_queued(instance: Instance) -> None:
    """By mail to the List-Unsubscribe address: consent and list at once; asking for it again lifts it."""
    instance.subscribe("hal")
    instance.signup("hal", 1)
    sent = instance.await_outcome("hal", "delivered")
    ring = tokens.KeyRing(0, {0: secret_of(Tenant())})
    last = tokens.last_day(time.time_ns() // 1_000_000, 30)
    named = (tokens.tenant_tag("default"), bytes.fromhex(sent["message_id"]), last)
    subject = tokens.make(tokens.Token(tokens.UNSUBSCRIBE, *named), ring)
    to = "unsubscribe@shop.example"
    instance.come_back(to, f"From: hal@inbox.example\nTo: {to}\nSubject: {subject}\n\n\n")
    instance.await_outcome("hal", "unsubscribed")
    assert instance.up.get("/v1/contacts/hal")["consents"]["marketing"]["granted"] is False
    until(
        lambda: instance.suppressed("hal@inbox.example") == ["unsubscribe"], lambda: "suppression"
    )
    instance.signup("hal", 2)
    until(
        lambda: [o for o in instance.outcomes() if o["contact"] == "hal" and o["kind"] in REFUSED],
        lambda: "refusal",
    )
    instance.subscribe("hal")
    until(lambda: not instance.suppressed("hal@inbox.example"), lambda: "lifted")


def test_a_link_unsubscribes_when_its_message_is_long_forgotten(instance: Instance) -> None:
    """No message of this id is known; the token tells who leaves, and consent and list follow."""
    instance.subscribe("ivy")
    instance.signup("ivy", 1)
    instance.await_outcome("ivy", "delivered")
    ring = tokens.KeyRing(0, {0: secret_of(Tenant())})
    forgotten = contact_key("default", "ivy")[:4] + bytes(12)
    last = tokens.last_day(time.time_ns() // 1_000_000, 30)
    sealed = seal(Leaving("ivy", "marketing", "marketing"), ring, forgotten)
    named = (tokens.UNSUBSCRIBE, tokens.tenant_tag("default"), forgotten, last, sealed)
    to = "unsubscribe@shop.example"
    subject = tokens.make(tokens.Token(*named), ring)
    instance.come_back(to, f"From: ivy@inbox.example\nTo: {to}\nSubject: {subject}\n\n\n")
    instance.await_outcome("ivy", "unsubscribed")
    assert instance.up.get("/v1/contacts/ivy")["consents"]["marketing"]["granted"] is False
    until(
        lambda: instance.suppressed("ivy@inbox.example") == ["unsubscribe"], lambda: "suppression"
    )
