"""From bytes to items: the same items whichever form they come in, and mistakes named item by item."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.gateway.bodies import (
    DEPTH_MAX,
    FAULTS_MAX,
    TooLargeError,
    UnsupportedTypeError,
    decode_items,
    decode_one,
    fault_of,
)
from actors.gateway.wire import EventIn, Fault, FaultsError
from engine.vocabulary import data_of

DECODER = msgspec.json.Decoder(EventIn)
JSON = "application/json"
LINES = "application/x-ndjson"
GOOD = {"id": "1", "name": "a", "contact": "c"}


def faults(body: bytes, content_type: str = JSON) -> list[Fault]:
    with pytest.raises(FaultsError) as caught:
        decode_items(body, content_type, DECODER, 1000)
    return caught.value.faults


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return GOOD | {"data": {"x": value}}


EVENTS = st.fixed_dictionaries(
    {
        "id": st.text("abc\u00e9\U0001f600", min_size=1),
        "name": st.just("n"),
        "contact": st.just("c"),
    },
    optional={
        "data": st.dictionaries(
            st.text(max_size=3),
            st.one_of(st.none(), st.integers(-(2**63), 2**64 - 1), st.text('x\n\\"', max_size=5)),
            max_size=3,
        ),
        "at": st.one_of(st.integers(10**11, 10**13), st.just("2024-05-01T12:00:00.5+02:00")),
    },
)


@given(events=st.lists(EVENTS, min_size=1, max_size=5))
def test_array_and_lines_give_the_same(events: list[dict[str, Any]]) -> None:
    """An array, lines, and single requests decode alike, each item with bytes that decode to it again."""
    array = decode_items(json.dumps(events).encode(), JSON, DECODER, 10)
    lines = decode_items("\n".join(map(json.dumps, events)).encode(), LINES, DECODER, 10)
    single = [decode_items(json.dumps(one).encode(), JSON, DECODER, 1).items[0] for one in events]
    assert array.items == lines.items == single
    assert [_fields(DECODER.decode(raw)) for raw in array.raws] == list(map(_fields, array.items))
    assert [_fields(DECODER.decode(raw)) for raw in lines.raws] == list(map(_fields, array.items))


@given(
    name=st.text(min_size=1, max_size=3),
    field=st.sampled_from(("id", "name", "contact")),
    ascii_only=st.booleans(),
)
def test_control_characters_are_found_however_they_are_written(
    name: str, field: str, ascii_only: bool
) -> None:
    """Both decoders refuse the same names: the quick one is used only where no name can hold what it doesn't see."""
    raw = json.dumps(GOOD | {field: name}, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        expected = DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        with pytest.raises(FaultsError):
            decode_items(raw, JSON, DECODER, 1)
    else:
        found = decode_items(raw, JSON, DECODER, 1).items[0]
        assert _fields(expected) == _fields(found)


@given(
    data=st.text('0123456789eE.+-"{}[]:, \\u9\x7f\n', max_size=40).map(
        lambda text: '{"a":' + text + "}"
    )
)
@example('{"a":1e999}')
@example('{"a":[-1E+400]}')
@example('{"a":18446744073709551616}')
@example('{"a":-9223372036854775809}')
@example('{"a":18446744073709551615}')
@example('{"a":"f0e0001"}')
@example("[]")
@example("null")
@example('"x"')
def test_data_that_stays_text_is_refused_where_decoding_it_would_be(data: str) -> None:
    """What the engine reads later can be read, and stored: text is taken only where the strict way takes it."""
    raw = json.dumps(GOOD)[:-1].encode() + b', "data": ' + data.encode() + b"}"
    try:
        expected = DECODER.decode(raw)
        msgspec.msgpack.encode(expected)
    except (msgspec.MsgspecError, OverflowError):
        with pytest.raises(FaultsError):
            decode_items(raw, JSON, DECODER, 1)
    else:
        assert _fields(decode_items(raw, JSON, DECODER, 1).items[0]) == _fields(expected)


def _fields(item: EventIn) -> dict[str, Any]:
    """Give the fields of an event, whichever form it was decoded in."""
    return msgspec.structs.asdict(item) | {"data": data_of(item.payload())}


def test_empty_lines_are_nothing() -> None:
    """Empty lines, and CR before LF, don't matter."""
    body = b"\r\n" + json.dumps(GOOD).encode() + b"\r\n\n"
    assert len(decode_items(body, f"{LINES}; charset=utf-8", DECODER, 1).items) == 1
    assert decode_items(b"", LINES, DECODER, 1).items == []
    assert decode_items(b" [] ", JSON, DECODER, 1).items == []


@pytest.mark.parametrize(
    ("item", "path", "detail"),
    [
        (GOOD | {"id": 1}, ".id", "expected a string, got int"),
        (GOOD | {"id": ""}, ".id", "expected 1 to 200 characters without control characters"),
        (
            GOOD | {"id": "a\n"},
            ".id",
            "expected 1 to 200 characters without control characters",
        ),
        (
            GOOD | {"id": "a\0b"},
            ".id",
            "expected 1 to 200 characters without control characters",
        ),
        (GOOD | {"nme": 1}, ".nme", "unknown field"),
        ({"id": "1", "name": "a"}, ".contact", "missing"),
        (
            GOOD | {"at": 1_700_000_000},
            ".at",
            "expected int >= 100000000000 (a time is in milliseconds)",
        ),
        (
            GOOD | {"at": "2024-05-01T12:00:00"},
            ".at",
            "expected datetime with a timezone component",
        ),
        (GOOD | {"data": []}, ".data", "expected an object, got an array"),
        (
            GOOD | {"data": {"x": 2**64}},
            "",
            "a number is outside -2^63 … 2^64-1: send it as a string",
        ),
        (nested(DEPTH_MAX), "", f"nested deeper than {DEPTH_MAX}"),
        (7, "", "expected an object, got int"),
    ],
)
def test_a_mistake_names_item_and_field(item: Any, path: str, detail: str) -> None:
    """Mistakes are named by index and field in a list, by field alone in a single item."""
    alone = json.dumps(item).encode()
    listed = json.dumps([GOOD, item]).encode()
    assert faults(alone) == [Fault(path.lstrip("."), detail)]
    assert faults(listed) == [Fault(f"items[1]{path}", detail)]
    assert faults(json.dumps(GOOD).encode() + b"\n" + alone, LINES) == [
        Fault(f"items[1]{path}", detail)
    ]


def test_all_mistakes_are_listed_up_to_a_bound() -> None:
    """A client mends a batch at once; a batch of nothing but mistakes doesn't blow up the answer."""
    items = [GOOD | {"id": index} for index in range(FAULTS_MAX + 5)]
    with pytest.raises(FaultsError) as caught:
        decode_items(json.dumps(items).encode(), JSON, DECODER, 100)
    assert len(caught.value.faults) == FAULTS_MAX
    assert caught.value.more


@pytest.mark.parametrize(
    "body", [b"[1", b"{", b"[" * 100_000, b"", b"\xff", b'[{"id": "\xff"}]', b"nul"]
)
def test_what_is_not_json_is_a_mistake_too(body: bytes) -> None:
    """Broken JSON, wrong bytes and a bomb of brackets are told like all else."""
    assert len(faults(body)) == 1


def test_a_deep_text_is_not_a_deep_item() -> None:
    """Brackets inside strings don't count."""
    item = GOOD | {"data": {"x": '[{"\\' * 100}}
    found = decode_items(json.dumps(item).encode(), JSON, DECODER, 1).items[0]
    assert data_of(found.payload()) == item["data"]
    assert decode_items(json.dumps(nested(DEPTH_MAX - 2)).encode(), JSON, DECODER, 1).items


def test_limits_and_types() -> None:
    """Too many items and an unreadable content type are refused by their own errors."""
    with pytest.raises(TooLargeError, match="at most 1 items"):
        decode_items(json.dumps([GOOD, GOOD]).encode(), JSON, DECODER, 1)
    for content_type in ("", "text/plain", "application/x-www-form-urlencoded"):
        with pytest.raises(UnsupportedTypeError):
            decode_items(b"{}", content_type, DECODER, 1)
    with pytest.raises(UnsupportedTypeError):
        decode_one(b"{}", LINES, DECODER)


@given(
    body=st.binary(max_size=40) | st.text('[]{}":,1eE+-. nultrefaso\\', max_size=40).map(str.encode)
)
def test_any_bytes_decode_or_are_refused(body: bytes) -> None:
    """No bytes raise anything but the errors of this module, and what is refused has a reason."""
    for content_type in (JSON, LINES):
        try:
            refused = None
            decode_items(body, content_type, DECODER, 10)
        except FaultsError as error:
            refused = error
        except TooLargeError:
            continue
        assert refused is None or (refused.faults and all(f.detail for f in refused.faults))


@given(body=st.binary(max_size=30))
def test_one_item_is_checked_as_in_a_list(body: bytes) -> None:
    """The check of a single piece finds a mistake exactly when decoding fails."""
    if fault_of(body, DECODER, "") is None:
        DECODER.decode(body)
