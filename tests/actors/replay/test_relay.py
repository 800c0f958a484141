"""A replay in mode `relay`: a real server with STARTTLS and AUTH takes the mail, and only mail for whom it may."""

from __future__ import annotations

import email
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.certificates import self_signed

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

HERE = Path(__file__).resolve().parents[2] / "acceptance"


class Keeper:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, bytes, bool]] = []

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        """Take a mail, with whether it came over TLS and after AUTH."""
        safe = session.ssl is not None and session.authenticated
        self.mails.append((envelope.rcpt_tos[0], envelope.content, safe))
        return "250 2.0.0 kept"


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    pem = self_signed(folder, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return pem, context


def authenticate(
    _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
) -> AuthResult:
    """Know one user."""
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"veredus", b"horse")
    return AuthResult(success=good, handled=good)


def test_a_relay_takes_signed_mail_over_tls_after_auth_and_only_for_those_allowed(
    tmp_path: Path,
) -> None:
    """Two contacts order; the one on the list gets mail through the relay, the other's is bounced here."""
    veredus = Path(sys.executable).with_name("veredus")
    if not veredus.exists():
        pytest.skip("veredus is not installed in this environment")
    subprocess.run([veredus, "init", tmp_path / "shop"], check=True, capture_output=True)
    pem, context = certificate(tmp_path)
    keeper = Keeper()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(
        keeper,
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    server.start()
    try:
        done = replay(tmp_path, veredus, pem, port)
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    assert "up to 2 contacts" in done.stderr
    assert json.loads(done.stdout)["messages"] == {"accepted": 2, "bounced": 1, "delivered": 1}
    recipient, content, safe = keeper.mails[0]
    assert (recipient, len(keeper.mails), safe) == ("ann@mail.test", 1, True)
    assert "hello@shop.example" in (email.message_from_bytes(content)["From"] or "")
    assert b"DKIM-Signature:" in content


def replay(folder: Path, veredus: Path, pem: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run a log of two orders through the relay."""
    password = folder / "password"
    password.write_text("horse\n")
    config = folder / "shop" / "veredus.toml"
    text = config.read_text()
    before, line, after = text.partition("[delivery]\n")
    assert line, "the configuration has a section delivery"
    after = after.replace('mode = "twin"', 'mode = "relay"\nallow = ["ann@mail.test"]', 1)
    relay = f"""
[delivery.relay]
host = "127.0.0.1"
port = {port}
starttls = "required"
ca_file = "{pem}"
username = "veredus"
password_file = "{password}"
"""
    config.write_text(before + line + after + relay)
    log = folder / "log.ndjson"
    rows = [
        {"id": f"o{n}", "event": "order.placed", "contact": f"c{n}", "at": "2026-01-05T12:00:00Z",
         "data": {"value": 100}, "attributes": {"email": address},
         "consents": [{"topic": "marketing", "source": "form"}]}
        for n, address in enumerate(("ann@mail.test", "bob@mail.test"))
    ]  # fmt: skip
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scenario = folder / "shop" / "scenarios" / "once.yaml"
    scenario.write_text(
        "scenario: once\nentry:\n  event: order.placed\nreentry: never\nsteps:\n"
        "  - id: hello\n    send:\n      template: welcome\n      topic: marketing\n"
    )
    command = [
        str(veredus), "replay", str(log), "--config", str(config), "--scenario", str(scenario),
        "--templates", str(folder / "shop" / "templates"), "--data", str(folder / "data"),
        "--workers", "1", "--json",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
