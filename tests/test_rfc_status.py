"""The table of standards and the code name the same ones."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "scenarios", "deliverability", "actors", "bench")
STATUSES = {"yes", "partial", "planned", "fact"}


def named(*folders: str) -> set[str]:
    """Give the numbers of all RFCs that files of these folders name."""
    return {
        number
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for number in re.findall(r"RFC ?(\d{3,5})", path.read_text("utf-8"))
    }


def table() -> dict[str, str]:
    """Read the table: number to status."""
    text = (ROOT / "docs/rfc-status.md").read_text("utf-8")
    return dict(re.findall(r"^\| (\d{3,5}) \| [^|]+ \| (\w+) \|", text, re.MULTILINE))


def test_each_standard_that_the_code_names_is_in_the_table() -> None:
    """A reference that isn't in the table is a typing mistake, or a row is missing."""
    assert set() == named(*PACKAGES) - table().keys()


def test_each_row_says_how_it_stands() -> None:
    """The four words, in rising order of the numbers."""
    rows = table()
    assert set(rows.values()) <= STATUSES
    assert sorted(rows, key=int) == list(rows)


def test_what_is_implemented_is_named_by_code_and_tests() -> None:
    """A `yes` that nothing names would be a claim without a place."""
    done = {number for number, status in table().items() if status == "yes"}
    assert set() == done - named(*PACKAGES, "tests")
