"""Lists of products: what a file may say, what a step finds, and what stays with the journey."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import InputError
from engine.vocabulary import ContactPut, Event
from scenarios.checking import check
from scenarios.product_files import read_products
from scenarios.products import ROW_BYTES_MAX, ProductList, find
from tests.scenarios.world import World

CSV = """sku;name;price;was;ean
LP-1;Blue;1200;1500;0123
LP-2;"Green; deep";900;;0456
"""
SHOP = read_products(CSV, "shop.csv", "sku")


def test_csv_is_read_with_integers_and_without_what_is_empty() -> None:
    assert SHOP.columns == ("sku", "name", "price", "was", "ean")
    assert SHOP.rows["LP-1"] == {
        "sku": "LP-1",
        "name": "Blue",
        "price": 1200,
        "was": 1500,
        "ean": "0123",  # a leading zero makes it a text
    }
    assert SHOP.rows["LP-2"] == {"sku": "LP-2", "name": "Green; deep", "price": 900, "ean": "0456"}
    assert SHOP.complete() == {"sku", "name", "price", "ean"}


@pytest.mark.parametrize(
    "text",
    [
        '{"id": 7, "name": "Blue", "left": null}\n\n{"id": "8", "name": "Green"}\n',
        '[{"id": 7, "name": "Blue"}, {"id": "8", "name": "Green", "left": ""}]',
    ],
)
def test_json_is_read_one_a_line_or_in_an_array_and_keys_are_texts(text: str) -> None:
    assert read_products(text, "f", "id").rows == {
        "7": {"id": "7", "name": "Blue"},
        "8": {"id": "8", "name": "Green"},
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "there is no product"),
        ("sku,name\n", None, "there is no product"),
        ("skuu,name\n1,x\n", 2, "there is no column 'sku'"),
        ("sku,name\n1,x\n1,y\n", 3, "comes twice"),
        ("sku,name\n,x\n", 2, "no key"),
        ("sku,name\n1,x,y\n", 2, "3 values for 2 columns"),
        ("sku,sku\n1,x\n", 1, "a column comes twice"),
        ("sku,a name\n1,x\n", 2, "no name of a column"),
        ('sku,name\n1,"x\n', 2, "no CSV"),
        ('{"sku": 1, "tags": ["a"]}', 1, "a list or an object"),
        ('{"sku": true}', 1, "no key"),
        ('{"sku": 1}\nnonsense\n', 2, "no JSON object"),
        ("[1]", None, "no array of objects"),
        (f"sku,name\n1,{'x' * ROW_BYTES_MAX}\n", 2, "a row larger than"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_line(
    text: str, line: int | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_products(text, "shop.csv", "sku")
    place = refused.value.place
    assert place is not None
    assert place.file == "shop.csv"
    assert line is None or place.line == line


@pytest.mark.parametrize(
    ("keys", "limit", "instead", "wanted", "absent"),
    [
        ("LP-2", 6, (), ["LP-2"], 0),
        (["LP-2", "LP-1", "LP-2"], 6, (), ["LP-2", "LP-1"], 0),
        (["LP-2", "LP-1"], 1, (), ["LP-2"], 0),
        (["LP-9", "LP-2"], 6, ("LP-1", "LP-2"), ["LP-2", "LP-1"], 1),
        (["LP-2"], 1, ("LP-1",), ["LP-2"], 0),
        ([None, 1.5, True, {}, []], 6, (), [], 5),
        (None, 6, ("LP-1",), ["LP-1"], 1),
    ],
)
def test_rows_are_found_once_each_in_order_and_filled_up(
    keys: Any, limit: int, instead: tuple[str, ...], wanted: list[str], absent: int
) -> None:
    found = find(SHOP, keys, limit, instead)
    assert [row["sku"] for row in found.rows] == wanted
    assert found.absent == absent
    assert find(None, keys, limit, instead).rows == []


SCENARIO = """
scenario: s
entry: viewed
reentry: always
steps:
  - id: goods
    products: {from: shop, keys: event.sku}
    else:
      - id: none
        tag: none
  - id: wait
    wait: 1d
  - id: cheap
    if: journey.products.exists(one, one.price < 1000)
    then:
      - id: mail
        send: {template: x, topic: t}
"""


def world() -> World:
    made = World(SCENARIO)
    made.catalog.put("products", "shop", SHOP)
    made.give("ann", ContactPut({"email": "ann@example.com"}))
    return made


def test_what_was_found_stays_with_the_journey_whatever_is_imported_later() -> None:
    here = world()
    here.give("ann", Event("viewed", 0, {"sku": "LP-2"}))
    dearer = {"LP-2": {"sku": "LP-2", "price": 5000}}
    here.catalog.put("products", "shop", ProductList("sku", ("sku", "price"), dearer))
    here.drain()
    assert [send.step for _, _, _, send in here.sent] == ["mail"]
    [send] = here.contact("ann").sends.values()
    assert send.caught["products"][0]["price"] == 900
    [first, second] = here.facts("branch_taken")
    assert (first["step"], first["branch"]) == ("goods", "found")
    assert first["values"] == {"rows": 1, "absent": 0, "instead": 0}
    assert second["branch"] == "then"


def test_what_is_not_found_takes_the_other_way_and_goes_on() -> None:
    here = world()
    here.give("ann", Event("viewed", 0, {"sku": "LP-9"}))
    here.drain()
    assert "none" in here.contact("ann").tags
    assert here.sent == []
    assert here.facts("branch_taken")[0]["values"] == {"rows": 0, "absent": 1, "instead": 0}


def test_without_a_list_the_record_says_so() -> None:
    here = World(SCENARIO)
    here.give("ann", Event("viewed", 0, {"sku": "LP-2"}))
    assert here.facts("branch_taken")[0]["why"] == "no_list"


def test_what_stands_there_when_nothing_is_found_must_be_said() -> None:
    [mistake] = check(SCENARIO.replace("    else:\n      - id: none\n        tag: none\n", ""))
    assert (mistake.line, mistake.path) == (7, "steps[0].products")
    assert "nothing is said" in mistake.message
    assert "`else:`" in mistake.mend
    bare = SCENARIO.replace("keys: event.sku", "keys: event.sku, instead: [LP-1, 7]")
    assert check(bare.replace("    else:\n      - id: none\n        tag: none\n", "")) == []
