"""`veredus up` calls a system outside for a scenario, over a kill; gives codes of a pool; merges contacts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from actors.webhooks.signing import make_secret
from tests.integration.instance import Running, prepare, run

SCENARIO = """
scenario: lead
entry: asked
reentry: always
steps:
  - id: to-sales
    webhook: {endpoint: sales, data: {points: "= event.points"}, as: desk, keep: [owner]}
    timeout: 1d
    else:
      - id: refused
        update: {stage: by-hand}
      - end: refused
  - id: went
    update: {stage: sales, owner: "= journey.desk.owner"}
"""
GIFT = """
scenario: gift
entry: gift.earned
steps:
  - id: code
    coupon: spring
    else:
      - id: none
        update: {gift: none}
      - end: none
  - id: mark
    update: {gift: "= journey.coupon"}
"""
ENDPOINT = """
[tenant.endpoint.sales]
url = "http://127.0.0.1:{port}/leads"
secret_file = "sales.secret"
"""


class Crm:
    """A system that takes leads; `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[tuple[str, dict[str, Any]]] = []
        crm = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                crm.taken.append((str(self.headers["webhook-id"]), json.loads(body)))
                told = b'{"owner": "eva", "more": 1}'
                self.send_response(crm.status)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def crm() -> Iterator[Crm]:
    made = Crm()
    yield made
    made.close()


def ask(up: Running, contact: str) -> None:
    event = {"id": f"e-{contact}", "name": "asked", "contact": contact, "data": {"points": 7}}
    assert up.give("POST", "/v1/events", event).status_code == 200


def stage(up: Running, contact: str) -> tuple[Any, Any]:
    """Wait until the contact's journey has gone on, and tell what it has set."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        attributes = up.get(f"/v1/contacts/{contact}")["attributes"]
        if "stage" in attributes:
            return attributes["stage"], attributes.get("owner")
        time.sleep(0.05)  # another process works
    raise AssertionError(up.log())


def attribute(up: Running, contact: str, name: str) -> Any:
    """Wait until a contact has an attribute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        attributes = up.get(f"/v1/contacts/{contact}")["attributes"]
        if name in attributes:
            return attributes[name]
        time.sleep(0.05)  # another process works
    raise AssertionError(up.log())


def codes_and_aliases(up: Running, folder: Path) -> None:
    """A pool of one code for two, and what becomes of both when they are one."""
    (folder / "codes.txt").write_text("GREEN\nGREEN\n")
    filled = run(folder, "coupons", "import", "spring", "codes.txt", "--data", "data")
    assert filled.returncode == 0, filled.stderr
    for contact in ("gil", "hal"):
        event = {"id": f"g-{contact}", "name": "gift.earned", "contact": contact}
        assert up.give("POST", "/v1/events", event).status_code == 200
        attribute(up, contact, "gift")
    gifts = {attribute(up, contact, "gift") for contact in ("gil", "hal")}
    assert gifts == {"GREEN", "none"}
    pool = up.get("/v1/coupons/spring")
    assert (pool["left"], pool["given"], pool["known"], pool["refused"]) == (0, 1, 1, 1)
    assert up.give("POST", "/v1/contacts/hal/merge", {"into": "gil"}).status_code == 200
    until(lambda: up.get("/v1/contacts/gil")["formers"] == ["hal"])
    until(lambda: up.get("/v1/contacts/gil")["counts"] == {"gift.earned": 2})
    assert up.get("/v1/contacts/hal")["merged_into"] == "gil"
    heard = run(folder, "notices", "coupons", "--data", "data")
    assert '"what":"empty"' in heard.stdout, heard.stderr
    told = run(folder, "coupons", "who", "spring", "GREEN", "--data", "data")
    assert told.stdout.startswith("gil"), told.stderr


def until(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_calls_over_a_kill(tmp_path: Path, crm: Crm) -> None:
    prepare(tmp_path)
    (tmp_path / "sales.secret").write_text(make_secret(b"s" * 32))
    (tmp_path / "scenarios" / "lead.yaml").write_text(SCENARIO)
    (tmp_path / "scenarios" / "gift.yaml").write_text(GIFT)
    with (tmp_path / "veredus.toml").open("a") as config:
        config.write(ENDPOINT.format(port=crm.server.server_address[1]))
    checked = run(tmp_path, "scenario", "check", "scenarios/lead.yaml", "--config", "veredus.toml")
    assert checked.returncode == 0, checked.stderr
    up = Running(tmp_path)
    try:
        ask(up, "ann")
        assert stage(up, "ann") == ("sales", "eva")
        identity, told = crm.taken[0]
        assert identity.startswith("call_")
        assert told["data"]["values"] == {"points": 7}
        crm.status = 422
        ask(up, "ben")
        assert stage(up, "ben") == ("by-hand", None)
        codes_and_aliases(up, tmp_path)
        crm.status = 503
        ask(up, "cora")
        until(lambda: len(crm.taken) >= 3)
        up.kill()
        crm.status = 200
        up = Running(tmp_path)
        assert stage(up, "cora") == ("sales", "eva")
        of_cora = {one for one, told in crm.taken if told["data"]["contact"] == "cora"}
        assert len(of_cora) == 1
        view = up.get("/v1/webhook")
        assert view["endpoints"][0]["name"] == "sales"
    finally:
        up.finish()
