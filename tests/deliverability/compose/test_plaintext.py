"""The derived text: readable, and still a template."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.compose.composer import Skeleton
from deliverability.compose.lexer import lex
from deliverability.compose.plaintext import derive_text
from deliverability.compose.template import Profile
from tests.deliverability.compose.letters import compose, letter, parts, template

VALUES = {"name": "Zoë", "url": "https://s.example/?a=1&b=2", "items": ["x", "y"], "yes": True}


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>Hello   {{ name }},</p>\n<p>caf&eacute; &amp; more</p>", "Hello Zoë,\n\ncafé & more"),
        ("<h1>Top</h1>one<br>two<br><br>three", "Top\n\none\ntwo\n\nthree"),
        ('<a href="https://a.example/">Go</a> on', "Go (https://a.example/) on"),
        ('<a href="https://a.example/">https://a.example/</a>', "https://a.example/"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="{{ url }}">{{ name }}</a>', "Zoë (https://s.example/?a=1&b=2)"),
        (
            '<a href="{{ url }}"><img src="x.png" alt="Logo &amp; Co"></a>',
            "Logo & Co (https://s.example/?a=1&b=2)",
        ),
        ('<a href="#top">up</a>', "up"),
        ("<ul>{% for i in items %}<li>{{ i }}</li>{% endfor %}</ul>end", "- x\n- y\n\nend"),
        (
            "<table>{% for i in items %}<tr><td>{{ i }}</td><td>1</td></tr>{% endfor %}</table>",
            "x 1\ny 1\n",
        ),
        ("<p>{% if yes %}a{% else %}b{% endif %}</p><p>c</p>", "a\n\nc"),
        ('<td {% if yes %}class="a"{% endif %}>x</td>', "x"),
        ("<style>p { color: red }</style><title>T</title><p>x<!-- no --></p>", "x"),
        ('<div style="display:none">pre<div>x</div>header</div><p>x</p>', "x"),
        ("&#123;&#123; name }} &lt;b&gt;", "{{ name }} <b>"),
        ("a<hr>b", "a\n\n-----\n\nb"),
        ("", ""),
    ],
)
def test_derived(html: str, expected: str) -> None:
    """Blocks, links, lists, tables, entities, hidden things."""
    composed = compose(template(f"<!-- -->{html}"), variables=VALUES)
    assert expected == parts(composed)["text/plain"]


_html = st.lists(
    st.sampled_from(
        (
            *(
                "<p>",
                "</p>",
                "<a href='{{ url }}'>",
                "</a>",
                "{{ name }}",
                "text ",
                "\n",
                "<br>",
                "<td",
                ">",
            ),
            *(
                "{% if yes %}<b>{% else %}<i {% endif %}",
                "<!--",
                "-->",
                "<style>",
                "</style>",
                "{% if yes %}",
            ),
            *("{% endif %}", "<div style='display:none'>", "</div>", "{# c #}", "'", '"'),
        )
    ),
    max_size=20,
).map("".join)


@settings(max_examples=100, deadline=None)
@given(_html)
def test_what_is_a_template_stays_one(html: str) -> None:
    """However tags and blocks lie across each other, blocks stay balanced."""
    html += "{% endif %}" * (html.count("{% if yes %}") - html.count("{% endif %}"))
    depth = 0
    for piece in html.split("{%"):
        depth += piece.startswith(" if") - piece.startswith(" endif")
        if depth < 0:
            return
    if depth:
        return
    made = Skeleton(template(html or " "), Profile())
    assert "text/plain" in parts(made.compose(letter(variables=VALUES)))


@pytest.mark.parametrize(
    "unit",
    ["<a href=x>y", "<p>", "x<br>", "<div style='display:none'>", "<td>x</td>", "</a>", "&amp"],
)
def test_linear(unit: str) -> None:
    """200,000 characters of what is never closed take no second."""
    tokens = lex(unit * (100_000 // len(unit)) + "</a>" * 25_000)
    start = time.process_time()
    assert derive_text(tokens) is not None
    assert time.process_time() - start < 2
