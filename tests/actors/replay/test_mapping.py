"""A map is read whole or refused with the line of its mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.replay.mapping import Field, load_mapping, parse_mapping
from engine.errors import InputError

MINIMAL = """\
[event]
name = "order.placed"

[contact]
column = "customer"

[time]
column = "day"
"""


def mistake(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_mapping(text, "m.toml")
    return str(caught.value)


def test_a_minimal_map_is_read() -> None:
    mapping, _ = parse_mapping(MINIMAL, "m.toml")
    assert mapping.event.name == "order.placed"
    assert mapping.contact.column == "customer"
    assert mapping.time.format == "iso8601"
    assert mapping.id is None


def test_data_fields_have_types() -> None:
    mapping, _ = parse_mapping(
        MINIMAL + '[data]\nvalue = { column = "v", type = "money", decimals = 3 }\n', "m.toml"
    )
    assert mapping.data == {"value": Field("v", "money", decimals=3)}


def test_an_unknown_key_is_named_with_its_line_and_the_key_that_was_meant() -> None:
    text = MINIMAL.replace('column = "day"', 'colum = "day"')
    assert mistake(text) == "m.toml:8: time.colum: unknown key `colum` (did you mean `column`?)"


def test_an_unknown_table_is_named_with_its_line() -> None:
    assert mistake(MINIMAL + "[adress]\ntemplate = 'x'\n").startswith(
        "m.toml:9: adress: unknown key `adress` (did you mean `address`?)"
    )


def test_an_unknown_key_in_an_inline_table_has_the_line_of_its_parent() -> None:
    text = MINIMAL + '[data]\nvalue = { column = "v", kind = "int" }\n'
    assert mistake(text).startswith("m.toml:10: data.value.kind: unknown key `kind`")


def test_a_wrong_type_is_named_with_its_line() -> None:
    text = MINIMAL + '[data]\nvalue = { column = "v", decimals = "two" }\n'
    assert mistake(text) == "m.toml:10: data.value.decimals: Expected `int`, got `str`"


def test_a_missing_table_is_named() -> None:
    assert "missing required field `time`" in mistake(MINIMAL.split("[time]")[0])


def test_broken_toml_is_named_with_line_and_column() -> None:
    assert mistake('[event]\nname = "x\n').startswith("m.toml:2:")


def test_a_deeply_nested_map_is_refused() -> None:
    assert "m.toml" in mistake("x = " + "[" * 100_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL.replace('name = "order.placed"', ""), "either `name`"),
        (MINIMAL.replace('name = "o', 'column = "kind"\nname = "o'), "either `name`"),
        (MINIMAL + '[zone]\nname = "UTC"\ncolumn = "z"\n', "either `name`"),
        (MINIMAL + "[address]\ntemplate = 'x@{domain}'\n", "belong together"),
        (
            MINIMAL + "[address]\ntemplate = 'x@a.test'\ndomains = {'b.test' = 1}\n",
            "belong together",
        ),
        (MINIMAL + "[address]\ntemplate = 'x@{domain}'\ndomains = {'b.test' = 0}\n", ">= 1"),
        (
            MINIMAL + "[address]\ntemplate = '{m}'\n[attributes]\nemail = {column = 'm'}\n",
            "given twice",
        ),
    ],
)
def test_a_contradiction_is_refused(text: str, expected: str) -> None:
    assert expected in mistake(text)


def test_a_map_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't read the map: No such file"):
        load_mapping(tmp_path / "none.toml")


def test_a_huge_map_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(InputError, match="at most"):
        load_mapping(path)


def test_a_map_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# fine\n# caf\xe9\n")
    with pytest.raises(InputError, match=r"latin\.toml:2: the map isn't UTF-8"):
        load_mapping(path)
