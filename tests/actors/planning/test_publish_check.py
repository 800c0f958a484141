"""A publish by command or over HTTP checks the steps against the templates of the instance; so does its preview."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.gateway.server import Gateway
from actors.planning.versions import Author, Migrating, VersionDesk
from actors.publishing import Publication, missing_endpoints, publish
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from deliverability.compose.template import Template
from engine.config import Endpoint, Tenant
from engine.errors import InputError
from tests.actors.cli.conftest import Veredus
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import network_client
from tests.actors.operations.living import config_of
from tests.actors.planning.town import town
from tests.actors.test_template_uses import veredus

__all__ = ("veredus",)  # a fixture

TEXT = """scenario: s
entry: order.placed
steps:
  - id: look
    wait_for: {event: cart.checked, as: check}
    timeout: 1d
  - id: m
    send: {template: TEMPLATE, topic: t}
"""
SOURCES = {
    "good": "{{ contact.any|default('you') }} {{ event.value }} {{ journey.check.value }}",
    "misspelt": "{{ contcat.first_name }}",
    "uncaught": "{{ journey.chek.value }}",
}
REFUSALS = [
    ("goood", "there is no template `goood`", "did you mean `good`?"),
    ("other", "there is no template `other`", "start `veredus up` anew"),
    ("misspelt", "uses `contcat.first_name`, which no step gives", "did you mean `contact`?"),
    ("uncaught", "uses `journey.chek.value`, which no wait gives", "did you mean `check`?"),
]
WHY = Author("tester", "test", 2)


def text(template: str) -> str:
    return TEXT.replace("TEMPLATE", template)


def put_templates(folder: Path, sources: dict[str, str], tenant: str = "default") -> None:
    templates = {
        name: Template(name, "x", f"<p>{source}</p>", "news@shop.example")
        for name, source in sources.items()
    }
    config = config_of(folder)
    heads = letterheads(config, secret_of)
    publish(config, heads, [Publication(tenant, {}, templates)], now=1, actor="test", reason="test")


@pytest.mark.parametrize(("template", "message", "mend"), REFUSALS)
def test_the_desk_refuses_with_place_and_mend_and_keeps_nothing(
    tmp_path: Path, template: str, message: str, mend: str
) -> None:
    put_templates(tmp_path, SOURCES)
    desk = VersionDesk(tmp_path)
    before = desk.head()
    with pytest.raises(InputError) as refused:
        desk.publish("default", text(template), "s.yaml", Migrating(), WHY)
    error = refused.value
    assert message in error.message
    assert mend in error.mend
    assert (error.place.file, error.place.line, error.place.path) == ("s.yaml", 7, "steps[1]")
    assert desk.head() == before
    assert desk.publish("default", text("good"), "s.yaml", Migrating(), WHY).changed


def test_templates_of_another_tenant_are_not_there(tmp_path: Path) -> None:
    put_templates(tmp_path, SOURCES)
    with pytest.raises(InputError, match="there is no template `good`"):
        VersionDesk(tmp_path).publish("elsewhere", text("good"), "s.yaml", Migrating(), WHY)


CALLS = """scenario: calls
entry: a
steps:
  - id: ask
    webhook: crn
"""


def test_an_endpoint_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    """With the place and the name that was meant; and so it is when the instance publishes its folder."""
    endpoint = Endpoint(url="https://crm.example/", secret_file="none")
    known = Tenant(from_domains=("shop.example",), endpoint={"crm": endpoint})
    config = msgspec.structs.replace(config_of(tmp_path), tenant=(known,))
    heads = letterheads(config, secret_of)
    told: dict[str, Any] = {"now": 1, "actor": "test", "reason": "test"}
    with pytest.raises(InputError, match="there is no endpoint `crn`") as early:
        publish(config, heads, [Publication("default", {"s.yaml": CALLS}, {})], **told)
    assert "`crm`" in early.value.mend
    publish(config, heads, [], **told)
    desk = VersionDesk(tmp_path)
    with pytest.raises(InputError, match="there is no endpoint `crn`") as refused:
        desk.publish("default", CALLS, "s.yaml", Migrating(), WHY)
    assert (refused.value.place.line, refused.value.place.path) == (4, "steps[0]")
    assert "`crm`" in refused.value.mend
    good = CALLS.replace("crn", "crm")
    assert desk.publish("default", good, "s.yaml", Migrating(), WHY).changed
    assert missing_endpoints(config) == []
    [gone] = missing_endpoints(config_of(tmp_path))  # it was taken out since
    assert "there is no endpoint `crm`" in gone
    publish(
        config_of(tmp_path),
        heads,
        [Publication("default", {"s.yaml": CALLS}, {})],
        calls="assumed",
        **told,
    )


def test_the_way_back_stays_open(tmp_path: Path) -> None:
    put_templates(tmp_path, SOURCES)
    desk = VersionDesk(tmp_path)
    first = desk.publish("default", text("good"), "s.yaml", Migrating(), WHY)
    put_templates(tmp_path, {"next": "{{ event.value }}", "good": SOURCES["misspelt"]})
    desk.publish("default", text("next"), "s.yaml", Migrating(), WHY)
    back = desk.rollback("default", "s", first.version, Migrating(), WHY)
    assert back.version == first.version
    assert desk.text("default", "s") == text("good")


def test_over_http_publish_and_preview_refuse_alike(tmp_path: Path) -> None:
    async def ask(client: httpx.AsyncClient, template: str, *, preview: bool) -> httpx.Response:
        body: dict[str, Any] = {"text": text(template), "file": "s.yaml", "preview": preview}
        return await client.post("/v1/scenarios", json=body)

    async def story() -> None:
        async with town(tmp_path, keep=False) as place:
            put_templates(tmp_path, SOURCES)
            await place.use_catalog(place.keeper.versions.head().version)
            registry, keeper = CollectorRegistry(), place.keeper
            gateway = Gateway(place.config, MemoryBackend(), registry, planning=keeper)
            async with network_client(gateway) as client:
                for template, message, mend in REFUSALS:
                    for preview in (True, False):
                        refused = await ask(client, template, preview=preview)
                        assert refused.status_code == 400
                        assert message in refused.text
                        assert mend in refused.text
                assert keeper.versions.text("default", "s") is None
                shown = await ask(client, "good", preview=True)
                assert (shown.status_code, shown.json()["name"]) == (200, "s")
                assert keeper.versions.text("default", "s") is None
                assert (await ask(client, "good", preview=False)).json()["changed"]

    asyncio.run(story())


def test_the_command_refuses_on_an_instance_that_is_down(tmp_path: Path, veredus: Veredus) -> None:
    put_templates(tmp_path / "data", SOURCES)
    file = tmp_path / "s.yaml"
    file.write_text(text("misspelt"))
    said = veredus("scenario", "publish", file, "--data", tmp_path / "data")
    assert said.status == 2
    assert f"{file}:7" in said.err
    assert "which no step gives" in said.err
    file.write_text(text("good"))
    assert veredus("scenario", "publish", file, "--data", tmp_path / "data").status == 0
