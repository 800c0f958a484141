"""`veredus contacts`: files of contacts go in whole, but for rows that are told apart with their reason."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cli.contact_rows import LINE_CHARS_MAX, Fill, Good, Rejected, read_csv, read_ndjson
from engine.errors import InputError
from engine.vocabulary import ConsentGiven, ContactPut
from tests.actors.cli.conftest import Instance, Veredus

CSV = """\
contact,email,name,version,consent.news,consent.news.at,consent.news.source
a1,a1@shop.example,Ann,1,granted,2024-01-01T00:00:00Z,form
a2,a2@shop.example,"Bo
b",2,withdrawn,,
a3,,Cy,x,granted,,
a4,a4@shop.example,D
a5,a5@shop.example,D,1,maybe,,
a6,a6@shop.example,D,1,granted,yesterday,
,a7@shop.example,D,1,,,
"""


def imported(veredus: Veredus, instance: Instance, file: Path, *more: str) -> dict[str, Any]:
    said = veredus("contacts", "import", file, *more, "--data", instance.data, "--json")
    assert said.err == ""
    report: dict[str, Any] = json.loads(said.out)
    assert said.status == (1 if report["rejected"] else 0)
    return report


def rejects(file: Path) -> list[tuple[int, str]]:
    found = file.with_name(f"{file.name}.rejects.ndjson")
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    return [
        (line["line"], line["reason"]) for line in map(json.loads, found.read_text().splitlines())
    ]


def test_csv_goes_in_and_bad_rows_are_told(
    instance: Instance, veredus: Veredus, tmp_path: Path
) -> None:
    """Good rows become contacts with attributes, version and consent; each bad one has line and reason."""
    file = tmp_path / "c.csv"
    file.write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    report = imported(veredus, instance, file)
    assert (report["rows"], report["accepted"], report["rejected"]) == (7, 2, 5)
    assert rejects(file) == [
        (5, "version: expected a whole number, got 'x'"),
        (6, "expected 7 cells, got 3"),
        (7, "consent.news: expected granted or withdrawn, got 'maybe'"),
        (8, "consents[0].at: invalid RFC3339 encoded datetime"),
        (9, "contact: expected 1 to 200 characters without control characters"),
    ]
    assert [(arrival.contact, arrival.body) for arrival in instance.backend.arrivals][:3] == [
        ("a1", ContactPut({"email": "a1@shop.example", "name": "Ann"}, 1)),
        ("a1", ConsentGiven("news", True, 1_704_067_200_000, "form")),
        ("a2", ContactPut({"email": "a2@shop.example", "name": "Bo\nb"}, 2)),
    ]


def test_an_import_is_taken_up_where_it_was(
    instance: Instance, veredus: Veredus, tmp_path: Path
) -> None:
    """The same file again changes nothing; with another consent its rows are other inputs."""
    file = tmp_path / "c.csv.gz"
    file.write_bytes(gzip.compress(b"contact,x\n" + b"".join(b"c%d,1\n" % n for n in range(1200))))
    assert imported(veredus, instance, file)["accepted"] == 1200
    calls = instance.backend.calls
    assert calls == 3, "batches, not single rows"
    again = imported(veredus, instance, file)
    assert (again["accepted"], again["duplicate"]) == (0, 1200)
    other = imported(veredus, instance, file, "--consent", "news", "--consent-source", "fair")
    assert other["accepted"] == 1200
    assert instance.backend.arrivals[-1].body.source == "fair"  # type: ignore[union-attr]  # it is a ConsentGiven


def test_two_equal_rows_are_two_inputs(
    instance: Instance, veredus: Veredus, tmp_path: Path
) -> None:
    """A row's id comes from its place, not its content."""
    file = tmp_path / "c.csv"
    file.write_text("contact,x\na,1\na,2\na,1\n")
    assert imported(veredus, instance, file)["accepted"] == 3


def test_ndjson_goes_in(instance: Instance, veredus: Veredus, tmp_path: Path) -> None:
    """Lines are items of PUT /v1/contacts; broken ones are told, whatever is wrong with them."""
    file = tmp_path / "c.ndjson"
    lines = [
        b'{"contact": "n1", "attributes": {"a": [1, {"b": null}]}, "id": "own"}',
        b"",
        b'{"contact": "n2", "attribtes": {}}',
        b"nonsense",
        b"[1]",
        b'{"contact": "\xff"}',
        b'{"contact": "n3", "attributes": {"a": 99999999999999999999}}',
        b'{"contact": "n4", "consents": 5}',
        b'{"contact": "' + b"x" * (LINE_CHARS_MAX + 10) + b'"}',
        b'{"contact": "n5", "attributes": {"a": ' + b"[" * 50 + b"]" * 50 + b"}}",
        b'{"contact": "n6"}',
    ]
    file.write_bytes(b"\n".join(lines))
    report = imported(veredus, instance, file, "--consent", "news")
    assert (report["rows"], report["accepted"], report["rejected"]) == (10, 2, 8)
    assert [line for line, _ in rejects(file)] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert [arrival.input_id for arrival in instance.backend.arrivals][:1] == ["own"]


def test_what_the_instance_refuses_is_a_reject_too(
    instance: Instance, veredus: Veredus, tmp_path: Path
) -> None:
    """A row that the engine refuses goes into the reject file, with the engine's reason."""
    instance.backend.horizon_ms = 1 << 60
    file = tmp_path / "c.csv"
    file.write_text("contact,x\na,1\n")
    assert imported(veredus, instance, file)["rejected"] == 1
    assert rejects(file) == [(2, "older than the horizon")]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("c.txt", b"x", "expected a name that ends in .csv, .ndjson or .jsonl"),
        (
            "c.csv",
            b"id,x\n1,2\n",
            "c.csv:1: there is no column 'contact' among id, x (name the column",
        ),
        ("c.csv", b"", "there is no column 'contact' among nothing"),
        ("c.csv", b"contact,x,x\n", "the column 'x' stands there twice"),
        ("c.csv.gz", b"not packed", "can't be used: Not a gzipped file"),
        (
            "c.csv.gz",
            gzip.compress(b"contact,x\n" * 100)[:-9],
            "can't be used: Compressed file ended",
        ),
    ],
)
def test_a_file_that_can_not_be_read(
    instance: Instance, veredus: Veredus, tmp_path: Path, name: str, content: bytes, line: str
) -> None:
    """A file that is wrong as a whole is one line, and nothing of it is taken."""
    file = tmp_path / name
    file.write_bytes(content)
    said = veredus("contacts", "import", file, "--data", instance.data)
    assert (said.status, said.out) == (2, "")
    assert line in said.err
    assert said.err.count("\n") == 1
    assert instance.backend.arrivals == []


def test_a_missing_file_and_a_missing_instance(veredus: Veredus, tmp_path: Path) -> None:
    """Each is named as what it is."""
    said = veredus("contacts", "import", tmp_path / "none.csv", "--data", tmp_path)
    assert "No such file or directory" in said.err
    (tmp_path / "c.csv").write_text("contact\na\n")
    assert (
        "no instance runs on"
        in veredus("contacts", "import", tmp_path / "c.csv", "--data", tmp_path).err
    )


def test_show_and_erase(instance: Instance, veredus: Veredus, tmp_path: Path) -> None:
    """A contact is shown with what is held, and erased."""
    file = tmp_path / "c.ndjson"
    file.write_text(
        '{"contact": "a/b", "attributes": {"name": "Ann"}, "consents": [{"topic": "t", "granted": true}]}'
    )
    imported(veredus, instance, file)
    said = veredus("contacts", "show", "a/b", "--data", instance.data)
    assert "attribute  name  Ann" in said.out
    assert "granted" in said.out
    assert "erased" in veredus("contacts", "erase", "a/b", "--data", instance.data).out
    assert "Contact a/b, erased" in veredus("contacts", "show", "a/b", "--data", instance.data).out
    assert veredus("contacts", "show", "nobody", "--data", instance.data).status == 2


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_every_csv_row_is_good_or_rejected(rows: list[tuple[str, str]]) -> None:
    """Rows written by a CSV writer come back, each as good or with a reason, none lost."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["contact", "x"])
    writer.writerows(rows)
    lines = io.StringIO(text.getvalue(), newline="")
    found = list(read_csv(lines, Fill(), "f"))
    assert len(found) == len(rows)
    for (contact, value), row in zip(rows, found, strict=True):
        match row:
            case Good(item=item):
                assert item["contact"] == contact.strip()
                assert item["attributes"] == ({"x": value} if value else {})
            case Rejected(reason=reason):
                assert reason


@given(text=st.text(st.sampled_from('a,"\n\r\0 x'), max_size=30))
def test_any_text_is_read_or_refused_as_csv(text: str) -> None:
    """Broken CSV is told row by row, or as a whole when the header is broken."""
    lines = (line + "\n" for line in ("contact,x\n" + text).split("\n"))
    try:
        found = list(read_csv(lines, Fill(), "f"))
    except InputError:
        raise AssertionError("the header was good") from None
    assert all(isinstance(row, Good | Rejected) for row in found)


@given(raw=st.lists(st.binary(max_size=20), max_size=4))
def test_any_bytes_are_good_or_rejected_as_ndjson(raw: list[bytes]) -> None:
    """No line raises."""
    found = list(read_ndjson(raw, Fill(topic="t")))
    assert len(found) == sum(1 for line in raw if line.strip())
