"""What a reader of HTML sees, and what is hidden."""

from __future__ import annotations

import pytest

from deliverability.preflight.page import read_page


@pytest.mark.parametrize(
    ("document", "hidden"),
    [
        ("<a href='x'>a</a>", False),
        ("<p style='display:none'><a href='x'>a</a></p>", True),
        ("<p style='font-size:0'><a href='x'>a</a></p>", True),
        ("<a href='x' style='font-size: 0px'>a</a>", True),
        (
            "<td style='font-size:0px'><div style='font-size:14px'><a href='x'>a</a></div></td>",
            False,
        ),
        ("<td style='font-size:0px'><div style='font-size:2em'><a href='x'>a</a></div></td>", True),
        ("<p style='font-size:0'>b</p><a href='x'>a</a>", False),
        ("<p style='font-size:0.5px'><a href='x'>a</a></p>", False),
        ("<p style='font-size:.0.0'><a href='x'>a</a></p>", False),
        ("<p style='font-size:larger'><a href='x'>a</a></p>", False),
    ],
)
def test_a_link_is_hidden_where_its_letters_are(document: str, hidden: bool) -> None:
    page = read_page(document)
    assert page.links[0].hidden is hidden
    assert bool(page.text_length) is not hidden or "b</p>" in document
