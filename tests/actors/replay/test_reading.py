"""Logs are read row by row within bounds, and what is wrong is named with file, line and field."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.replay import reading
from actors.replay.mapping import Mapping, MapSource, load_mapping, parse_mapping
from actors.replay.reading import EventLog, LogRow, open_log
from engine.errors import InputError
from engine.ids import row_input_id
from engine.vocabulary import ConsentGiven, Event, data_of

SHARED = Path(__file__).parents[4] / "shared"
CDNOW = SHARED / "corpora" / "engagement" / "cdnow_transactions.csv.gz"
CDNOW_MAP = Path(__file__).parents[2] / "acceptance" / "cdnow.map.toml"

MAP = """\
[event]
name = "order.placed"
[contact]
column = "who"
[time]
column = "day"
format = "%Y%m%d"
at = "12:00"
[address]
template = "c{who}@{domain}"
domains = { "gmail.test" = 1 }
[consent]
topics = ["offers"]
source = "import"
[zone]
name = "Europe/Warsaw"
[data]
value = { column = "amount", type = "money" }
note = { column = "note", optional = true }
"""
HEADER = "who,day,amount,note\n"
NOON = 853_070_400_000


def mapped(text: str = MAP) -> tuple[Mapping, MapSource]:
    return parse_mapping(text, "map.toml")


def log_of(folder: Path, content: str | bytes, name: str, text: str | None = None) -> EventLog:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_log(path, None if text is None else mapped(text))


def csv_mistake(folder: Path, content: str | bytes, text: str = MAP) -> str:
    with pytest.raises(InputError) as caught:
        list(log_of(folder, content, "log.csv", text))
    return str(caught.value).removeprefix(f"{folder}/")


def ndjson_mistake(folder: Path, content: str | bytes, text: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        list(log_of(folder, content, "log.ndjson", text))
    return str(caught.value).removeprefix(f"{folder}/")


def test_a_mapped_csv_row_becomes_an_event(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEADER + "7,19970112,29.33,\n", "log.csv", MAP)
    assert list(log) == [
        LogRow(
            row_input_id(log.digest, 1),
            "7",
            Event("order.placed", NOON, {"value": 2933}),
            {"timezone": "Europe/Warsaw", "email": "c7@gmail.test"},
            (ConsentGiven("offers", granted=True, at=NOON, source="import"),),
        )
    ]


def test_equal_rows_are_two_inputs_with_ids_that_stay(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEADER + "7,19970112,1,\n7,19970112,1,\n", "log.csv", MAP)
    first = [row.input_id for row in log]
    assert first == [row.input_id for row in log]
    assert len(set(first)) == 2


def test_the_id_column_is_the_input_id(tmp_path: Path) -> None:
    log = log_of(
        tmp_path, HEADER + "7,19970112,1,n-1\n", "log.csv", MAP + '[id]\ncolumn = "note"\n'
    )
    assert [row.input_id for row in log] == [b"n-1"]


def test_a_compressed_log_reads_the_same_with_a_digest_of_its_own(tmp_path: Path) -> None:
    text = HEADER + "7,19970112,29.33,x\n"
    plain = log_of(tmp_path, text, "log.csv", MAP)
    packed = log_of(tmp_path, gzip.compress(text.encode()), "log.csv.gz", MAP)
    assert [row.event for row in plain] == [row.event for row in packed]
    assert plain.digest != packed.digest


def test_quoted_fields_may_span_lines_and_errors_name_the_line_of_the_record(
    tmp_path: Path,
) -> None:
    text = HEADER + '7,19970112,1,"two\nlines"\n8,19970112,abc,\n'
    assert csv_mistake(tmp_path, text) == (
        "log.csv:4: amount: 'abc' is not an amount such as 29.33"
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (",19970112,1,", "log.csv:2: who: empty, and a contact id is needed"),
        ("7,19971301,1,", "log.csv:2: day: '19971301' is no time of the form `%Y%m%d`"),
        ("7,19970112,1.001,", "log.csv:2: amount: '1.001' has more than 2 decimals"),
        ("7,19970112,,", "log.csv:2: amount: '' is not an amount such as 29.33"),
        ("7,19970112", "log.csv:2: 2 fields, and the header has 4"),
        ("a b,19970112,1,", "log.csv:2: address: 'ca b@gmail.test' has characters"),
        ('7,19970112,1,"open', "log.csv:2: not well-formed CSV: unexpected end of data"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, expected: str) -> None:
    assert csv_mistake(tmp_path, HEADER + row + "\n").startswith(expected)


def test_a_column_that_is_not_there_is_named_with_the_line_of_the_map(tmp_path: Path) -> None:
    assert csv_mistake(tmp_path, "who,day,amuont,note\n") == (
        "map.toml:18: data.value.column: unknown column `amount` (did you mean `amuont`?)"
    )


def test_a_column_in_the_address_must_be_there(tmp_path: Path) -> None:
    text = MAP.replace("c{who}", "{whom}")
    assert "map.toml:10: address.template: unknown column `whom`" in csv_mistake(
        tmp_path, HEADER, text
    )


@pytest.mark.parametrize(
    "template", ["{who", "{who!r}@{domain}", "{who:>9}@{domain}", "{}@{domain}"]
)
def test_a_template_that_is_not_one_is_refused(tmp_path: Path, template: str) -> None:
    text = MAP.replace("c{who}@{domain}", template + ("" if "domain" in template else "{domain}"))
    assert csv_mistake(tmp_path, HEADER, text).startswith("map.toml:10: address.template")


def test_a_cell_cannot_stand_for_the_domain(tmp_path: Path) -> None:
    assert "no address" in csv_mistake(
        tmp_path,
        HEADER + "x@{domain},19970112,1,\n",
        MAP.replace("c{who}@{domain}", "{who}.{domain}"),
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "no header line"),
        ("who,who,day,amount,note\n", "is there twice"),
        (",".join(f"c{n}" for n in range(1001)) + "\n", "1001 columns"),
        (HEADER.encode() + b"7,19970112,1,caf\xe9\n", "log.csv:2: the line isn't UTF-8"),
        (HEADER + "x" * (reading.LINE_BYTES_MAX + 1), "log.csv:2: the line is longer"),
        (HEADER + '7,1,1,"' + "y\n" * 600_000, "not well-formed CSV: field larger"),
        (HEADER + ('"' + "z" * 100_000 + '\n",') * 20, "the record is longer than"),
        (gzip.compress((HEADER + "7,19970112,1,\n" * 9000).encode())[:-9], "damaged"),
        (b"\x1f\x8bnot really gzip", "damaged"),
    ],
)
def test_a_file_that_is_no_log_is_refused(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    assert expected in csv_mistake(tmp_path, content)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + HEADER.encode() + b"7,19970112,1,\r\n"
    assert [row.contact for row in log_of(tmp_path, content, "log.csv", MAP)] == ["7"]


def test_another_delimiter(tmp_path: Path) -> None:
    text = 'delimiter = ";"\n' + MAP
    log = log_of(tmp_path, "who;day;amount;note\n7;19970112;1;\n", "log.csv", text)
    assert [row.contact for row in log] == ["7"]


def test_a_csv_log_needs_a_map(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a map"):
        log_of(tmp_path, HEADER, "log.csv")


def test_a_log_of_unclear_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="what form this log has"):
        log_of(tmp_path, HEADER, "log.dat")


def test_a_log_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't read the log: No such file"):
        open_log(tmp_path / "none.ndjson")


def test_a_log_that_changes_between_two_readings_is_noticed(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEADER + "7,19970112,1,\n", "log.csv", MAP)
    log.path.write_text(HEADER + "7,19970112,1,\n8,19970112,1,\n")
    with pytest.raises(InputError, match="changed while it was read"):
        list(log)


def test_the_documented_form(tmp_path: Path) -> None:
    content = """\
{"id":"e1","event":"order.placed","contact":"7","at":"1997-01-12T12:00:00Z","data":{"value":2933}}

{"event":"cart.updated","contact":"7","at":853070400001,"attributes":{"email":"a@b.test"},"consents":[{"topic":"offers","source":"web"}]}
"""
    log = log_of(tmp_path, content, "log.ndjson")
    assert list(log) == [
        LogRow(b"e1", "7", Event("order.placed", NOON, {"value": 2933})),
        LogRow(
            row_input_id(log.digest, 2),
            "7",
            Event("cart.updated", NOON + 1, {}),
            {"email": "a@b.test"},
            (ConsentGiven("offers", granted=True, at=NOON + 1, source="web"),),
        ),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"event":"x","contact":"7"}', "log.ndjson:1: Object missing required field `at`"),
        ('{"event":"x","contact":7,"at":1}', "log.ndjson:1: contact: Expected `str`, got `int`"),
        ('{"event":"x","contact":"7","at":1,"dat":{}}', "unknown field `dat`"),
        ('{"event":"x","contact":"7","at":"soon"}', "log.ndjson:1: at: 'soon' is no time"),
        ('{"event":"","contact":"7","at":1}', "log.ndjson:1: event: empty"),
        (
            '{"event":"x","contact":"a\\u0000b","at":1}',
            "log.ndjson:1: contact: 'a\\x00b' has control",
        ),
        ('{"event":"x","contact":"7","at":1,"id":""}', "log.ndjson:1: id: empty"),
        ('{"event":"x","contact":"7","at":-5}', "log.ndjson:1: at: the time isn't between"),
        (
            '{"event":"x","contact":"7","at":1,"data":{"a":[1e999999]}}',
            "log.ndjson:1: data[...][0]: Number out of range",
        ),
        (
            '{"event":"x","contact":"7","at":1,"data":{"a":[123456789012345678901]}}',
            "log.ndjson:1: data.a.0: the number has more than 64 bits",
        ),
        ("[" * 100_000, "log.ndjson:1: "),
        (
            '{"event":"x","contact":"7","at":1,"data":' + '{"a":' * 40 + "1" + "}" * 41,
            "nested deeper",
        ),
        ("not json", "log.ndjson:1: JSON is malformed"),
        (b'{"event":"\xff","contact":"7","at":1}', "log.ndjson:1: "),
        ("[1]", "log.ndjson:1: Expected `object`, got `array`"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str | bytes, expected: str) -> None:
    assert expected in ndjson_mistake(tmp_path, line)


def test_ndjson_by_a_map_keeps_money_exact_and_reaches_into_objects(tmp_path: Path) -> None:
    text = MAP.replace('column = "amount"', 'column = "order.total"')
    content = '{"who":7,"day":"19970112","order":{"total":1234567890123.45}}\n'
    (row,) = log_of(tmp_path, content, "log.ndjson", text)
    assert row.event.data == {"value": 123456789012345}
    assert row.contact == "7"


def test_a_field_that_a_mapped_line_lacks_is_named(tmp_path: Path) -> None:
    assert ndjson_mistake(tmp_path, '{"who":"7","day":"19970112"}', MAP) == (
        "log.ndjson:1: amount: missing"
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=400), st.sampled_from(["log.csv", "log.ndjson"]))
def test_any_bytes_are_rows_or_one_input_error(tmp_path: Path, content: bytes, name: str) -> None:
    body = HEADER.encode() + content if name == "log.csv" else content
    try:
        rows = list(log_of(tmp_path, body, name, MAP if name == "log.csv" else None))
    except InputError:
        return
    assert all(row.contact for row in rows)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.text(
                st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=9
            ),
            st.text(
                st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=20
            ),
        )
    )
)
def test_what_a_csv_writer_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    text = MAP.split("[address]")[0] + '[data]\nnote = { column = "note" }\n'
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["who", "day", "note"])
    writer.writerows([who, "19970112", note] for who, note in rows)
    log = log_of(tmp_path, buffer.getvalue(), "log.csv", text)
    assert [(row.contact, data_of(row.event.data)["note"]) for row in log] == rows


@pytest.mark.shared
@pytest.mark.skipif(not CDNOW.exists(), reason="needs ../shared beside the checkout")
def test_the_purchase_log_reads_with_its_map() -> None:
    rows = list(open_log(CDNOW, load_mapping(CDNOW_MAP)))
    with gzip.open(CDNOW, "rt") as file:
        lines = list(csv.DictReader(file))
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        assert row.contact == line["customer_id"]
        assert data_of(row.event.data)["value"] == round(float(line["dollar_value"]) * 100)
        assert data_of(row.event.data)["cds"] == int(line["number_of_cds"])
    assert len({row.input_id for row in rows}) == len(rows)
