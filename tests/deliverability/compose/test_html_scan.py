"""The scanner: pieces cover the document, hidden tags come back, and time is linear."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.compose.html_scan import hide, scan, show
from deliverability.compose.lexer import lex

_html = st.lists(
    st.sampled_from(
        (
            "<a",
            " href=",
            '"',
            "'",
            ">",
            "<",
            "/",
            "<!--",
            "-->",
            "x",
            " ",
            "=",
            "<script>",
            "</script>",
            "<!",
            "\n",
        )
    ),
    max_size=30,
).map("".join)


@given(_html)
def test_pieces_cover_the_document(html: str) -> None:
    """Nothing is left out, nothing twice; attribute values lie where they say."""
    at = 0
    for piece in scan(html):
        assert at == piece.start < piece.end
        at = piece.end
        for attribute in piece.attributes:
            assert attribute.value == html[attribute.start : attribute.end]
    assert at == len(html)


def test_attributes() -> None:
    """Quoted in both ways, bare, without value; names in lower case."""
    (piece,) = scan("""<A HREF="x > y" title='"' id=a/b checked data-track=no>""")
    assert [a.name for a in piece.attributes] == ["href", "title", "id", "checked", "data-track"]
    assert [a.value for a in piece.attributes] == ["x > y", '"', "a/b", "", "no"]


def test_hidden_tags_come_back() -> None:
    """Tags within attributes too; private characters of the template's own are dropped."""
    tokens = lex('<a href="{{ u }}"{% if x %} b{% endif %}>\U000f0001</a>')
    html, tags = hide(tokens)
    assert len(tags) == 3
    shown = show(html, tags)
    assert "".join(getattr(t, "text", "") or getattr(t, "source", "") for t in shown) == (
        '<a href="{{ u }}"{% if x %} b{% endif %}></a>'
    )


@pytest.mark.parametrize(
    "unit", ["<a ", '<a href="', "<!--", "<script>", "<a b='", "<", "<a =", "</"]
)
def test_linear(unit: str) -> None:
    """200,000 characters of what never closes take no more than a few times what the same of text takes."""
    html = unit * (200_000 // len(unit))
    start = time.process_time()
    assert sum(1 for _ in scan(html))
    assert time.process_time() - start < 2
