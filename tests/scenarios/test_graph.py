"""Graphs: every step is a node, every way an edge; Mermaid and SVG are well formed."""

from __future__ import annotations

import defusedxml.ElementTree

from scenarios.checking import load
from scenarios.graph import Edge, graph_of, mermaid, svg

TEXT = """
scenario: s
entry: e
steps:
  - id: i
    if: contact.name == "<&>"
    then:
      - {id: w, wait: 1d}
    else:
      - {id: r, repeat: 2, steps: [{id: v, wait: 1h}]}
      - end: no
  - id: f
    wait_for: [{event: a, then: [{id: t, tag: x}]}, {event: b}]
    timeout: 1d
"""
GRAPH = graph_of(load(TEXT))


def test_every_way_is_an_edge() -> None:
    assert set(GRAPH.edges) == {
        Edge("entry", "i"),
        Edge("i", "w", "then"),
        Edge("w", "f"),
        Edge("i", "r", "else"),
        Edge("r", "v", "each"),
        Edge("v", "r"),
        Edge("r", "end", "done"),
        Edge("f", "t", "0"),
        Edge("t", "end"),
        Edge("f", "end", "1"),
        Edge("f", "end", "timeout"),
    }


def test_mermaid_names_every_node_and_escapes_texts() -> None:
    text = mermaid(GRAPH, {("i", "then"): 1234})
    assert text.count("-->") == len(GRAPH.edges)
    assert '-->|"then 1,234"|' in text
    assert "#quot;&lt;&amp;" in text


def test_svg_is_xml_with_a_box_for_every_node_in_rows_that_follow_the_edges() -> None:
    root = defusedxml.ElementTree.fromstring(svg(GRAPH, {("f", "timeout"): 7}))
    name = "{http://www.w3.org/2000/svg}"
    assert len(list(root.iter(f"{name}rect"))) == len(GRAPH.nodes)
    texts = [one.text for one in root.iter(f"{name}text")]
    assert "timeout 7" in texts
    assert 'contact.name == "<&>"' in texts
