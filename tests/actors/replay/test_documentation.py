"""The examples in docs/event-log.md are read as it says."""

from __future__ import annotations

import re
from pathlib import Path

from actors.replay import mapping, native, reading, sorting
from actors.replay.cells import CONTACT_BYTES_MAX, EVENT_NAME_MAX, INPUT_ID_BYTES_MAX
from actors.replay.mapping import Mapping, parse_mapping
from actors.replay.reading import open_log

PAGE = (Path(__file__).parents[3] / "docs" / "event-log.md").read_text("utf-8")


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    path.write_text(example("json"))
    first, second = open_log(path)
    assert first.input_id == b"e-1001"
    assert first.event.at == second.event.at
    assert second.attributes["email"] == "zoe@gmail.test"
    assert second.consents[0].granted


def test_the_example_map_is_read_and_names_every_key(tmp_path: Path) -> None:
    parsed = parse_mapping(example("toml"), "MAP.toml")
    path = tmp_path / "orders.csv"
    path.write_text(
        "customer_id,order_id,date,dollar_value,number_of_cds,remark,customer_name\n"
        "7,o-1,20260301,29.33,2,,Zoë\n"
    )
    (row,) = open_log(path, parsed)
    assert row.event.data == {"value": 2933, "items": 2}
    assert row.attributes["name"] == "Zoë"
    assert all(
        re.search(rf"^\[?{key}\b", example("toml"), re.MULTILINE)
        for key in Mapping.__struct_fields__
    )


def test_the_bounds_are_those_of_the_code() -> None:
    assert reading.LINE_BYTES_MAX == reading.RECORD_BYTES_MAX == 1 << 20
    assert mapping.MAP_BYTES_MAX == 256 << 10
    assert "at most 1 MiB" in PAGE
    assert "a map 256 KiB" in PAGE
    assert f"at most {reading.COLUMNS_MAX:,} columns" in PAGE
    assert f"{sorting.INSTANT_ROWS_MAX:,} events share one time" in PAGE
    assert f"most {native.DEPTH_MAX} deep" in PAGE
    for bound in (EVENT_NAME_MAX, CONTACT_BYTES_MAX, INPUT_ID_BYTES_MAX):
        assert f"t most {bound} bytes" in PAGE
