"""Lists of products of an instance: imported, listed, and asked for by what is published."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from actors.gateway.server import Gateway
from actors.planning.products import import_products, list_products, product
from actors.planning.versions import Author, Migrating, VersionDesk
from engine.errors import InputError
from engine.store.control_file import ControlFile
from scenarios.product_files import read_products
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import network_client
from tests.actors.planning.test_publish_check import put_templates
from tests.actors.planning.town import town

WHY = Author("tester", "the feed of today", 2)
CSV = "sku,name,price,was\nLP-1,Blue,1200,1500\nLP-2,Green,900,\n"
TEXT = """scenario: s
entry: viewed
steps:
  - id: goods
    products: {from: shop, keys: event.sku, as: goods, instead: [LP-1]}
  - id: m
    send: {template: TEMPLATE, topic: t}
"""
LOOP = "{% for one in journey.goods %}SHOWN{% endfor %}"
SOURCES = {
    "good": LOOP.replace("SHOWN", "{{ one.name }} {{ one.was|default('') }}"),
    "asks": LOOP.replace("SHOWN", "{% if one.was %}{{ one.was }}{% endif %}"),
    "gap": LOOP.replace("SHOWN", "{{ one.was }}"),
    "none": LOOP.replace("SHOWN", "{{ one.nmae }}"),
}


def filled(folder: Path) -> VersionDesk:
    put_templates(folder, SOURCES)
    desk = VersionDesk(folder)
    import_products(desk, "default", "shop", read_products(CSV, "shop.csv", "sku"), WHY)
    return desk


def test_an_import_is_a_version_on_record_and_the_same_again_is_none(tmp_path: Path) -> None:
    desk = filled(tmp_path)
    [first] = list_products(desk, "default").products
    assert (first.name, first.rows, first.gaps) == ("shop", 2, ["was"])
    head = desk.head().version
    import_products(desk, "default", "shop", read_products(CSV, "shop.csv", "sku"), WHY)
    assert desk.head().version == head
    changed = CSV.replace("900", "950")
    line = import_products(desk, "default", "shop", read_products(changed, "shop.csv", "sku"), WHY)
    assert line.version != first.version
    records = [one.change for one in ControlFile(tmp_path / "control.log").records()]
    ours = [one for one in records if one.subject == "products default/shop"]
    assert [(one.action, one.reason) for one in ours] == [("import", "the feed of today")] * 2
    assert ours[1].before == ours[0].after
    found = product(desk, "default", "shop", "LP-2")
    assert found is not None
    assert found.row == {"sku": "LP-2", "name": "Green", "price": 950}
    assert product(desk, "default", "shop", "LP-3") is None
    assert product(desk, "other", "shop", "LP-2") is None
    with pytest.raises(InputError, match="no name of a list"):
        import_products(desk, "default", "My Shop", read_products(CSV, "", "sku"), WHY)


@pytest.mark.parametrize(
    ("template", "change", "message", "mend"),
    [
        ("good", ("from: shop", "from: shpo"), "no list of products `shpo`", "did you mean `shop`"),
        ("good", ("[LP-1]", "[LP-7]"), "`LP-7`, which is to stand in, isn't", ""),
        ("gap", ("", ""), "shows `was` of `shop`, which some rows don't have", "default"),
        ("none", ("", ""), "shows `nmae` of `shop`, which has no such column", "`name`"),
    ],
)
def test_publishing_refuses_what_lists_do_not_have(
    tmp_path: Path, template: str, change: tuple[str, str], message: str, mend: str
) -> None:
    desk = filled(tmp_path)
    text = TEXT.replace("TEMPLATE", template).replace(*change)
    with pytest.raises(InputError) as refused:
        desk.publish("default", text, "s.yaml", Migrating(), WHY)
    assert message in refused.value.message
    assert mend in (refused.value.mend or "")


@pytest.mark.parametrize("template", ["good", "asks"])
def test_what_lists_have_is_published(tmp_path: Path, template: str) -> None:
    desk = filled(tmp_path)
    text = TEXT.replace("TEMPLATE", template)
    assert desk.publish("default", text, "s.yaml", Migrating(), WHY).changed


def test_a_list_goes_in_over_http_and_journeys_see_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, "a") as place:
            gateway = Gateway(
                place.config, MemoryBackend(), CollectorRegistry(), planning=place.keeper
            )
            async with network_client(gateway) as client:
                await asked(client)
            desk = place.keeper.versions
            text = TEXT.replace("  - id: m\n    send: {template: TEMPLATE, topic: t}\n", "") + (
                "  - id: note\n    update: {price: '= journey.goods[0].price'}\n"
            )
            desk.publish("default", text, "s.yaml", Migrating(), place.author())
            await place.people(["ann"])
            await place.use_catalog(desk.head().version)
            await place.events(["ann"], "viewed", "1", sku="LP-9")
            await place.until(lambda: place.contact("ann").attributes.get("price") == 1200, 20)

    async def asked(client: httpx.AsyncClient) -> None:
        made = await client.post("/v1/products/shop", json={"text": CSV})
        assert made.status_code == 200, made.text
        assert made.json()["rows"] == 2
        listed = (await client.get("/v1/products")).json()
        assert [one["name"] for one in listed["products"]] == ["shop"]
        row = await client.get("/v1/products/shop", params={"key": "LP-1"})
        assert row.json()["row"]["price"] == 1200
        absent = await client.get("/v1/products/shop", params={"key": "LP-9"})
        assert absent.status_code == 404
        wrong = await client.post("/v1/products/shop", json={"text": "sku\n1\n1\n", "file": "f"})
        assert wrong.status_code == 400
        assert "comes twice" in wrong.text

    asyncio.run(story())
