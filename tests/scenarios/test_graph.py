"""Graphs: every step is a node, every way an edge; Mermaid and SVG are well formed."""

from __future__ import annotations

import defusedxml.ElementTree

from scenarios.checking import load
from scenarios.graph import graph_of, mermaid, svg

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


def test_every_way_is_an_edge_with_what_it_is_called() -> None:
    assert {(one.source, one.target, one.branch, one.label) for one in GRAPH.edges} == {
        ("entry", "i", "", ""),
        ("i", "w", "then", "yes"),
        ("w", "f", "", ""),
        ("i", "r", "else", "no"),
        ("r", "v", "each", "each"),
        ("v", "r", "", ""),
        ("r", "end", "done", "done"),
        ("f", "t", "0", "a"),
        ("t", "end", "", ""),
        ("f", "end", "1", "b"),
        ("f", "end", "timeout", "after 1d"),
    }


def test_branches_have_columns_of_their_own() -> None:
    assert {node.id: node.column for node in GRAPH.nodes} == {
        "entry": 0,
        "i": 0,
        "w": 0,
        "r": 1,
        "v": 2,
        "f": 0,
        "t": 0,
        "end": 0,
    }
    assert [edge.via for edge in GRAPH.edges if edge.source == "f"] == [-1, 1, 2]


def test_mermaid_names_every_node_and_escapes_texts() -> None:
    text = mermaid(GRAPH, {("i", "then"): 1234})
    assert text.count("-->") == len(GRAPH.edges)
    assert '-->|"yes 1,234"|' in text
    assert "#quot;&lt;&amp;" in text


def test_svg_is_xml_with_a_box_for_every_node_in_rows_that_follow_the_edges() -> None:
    root = defusedxml.ElementTree.fromstring(svg(GRAPH, {("f", "timeout"): 7}))
    name = "{http://www.w3.org/2000/svg}"
    assert len(list(root.iter(f"{name}rect"))) == len(GRAPH.nodes)
    texts = [one.text for one in root.iter(f"{name}text")]
    assert "after 1d 7" in texts
    assert 'contact.name == "<&>"' in texts


def test_counts_of_a_simulation_stand_on_the_edges() -> None:
    from actors.cli.run_counts import counts_of

    text = """
scenario: s
entry: e
steps:
  - id: which
    if: contact.plan == 'gold'
    then:
      - {id: m, send: {template: m, topic: t}}
"""
    graph = graph_of(load(text))
    report = """{"journeys": 9, "funnel": [
      {"step": "which", "reached": {"count": 9}, "branches": {"then": 4, "else": 5}},
      {"step": "m", "reached": {"count": 4}}]}"""
    drawn = mermaid(graph, counts_of(graph, report, "r.json"))
    assert [number for number in ('|"9"|', "yes 4", "no 5", '|"4"|') if number in drawn] == [
        '|"9"|',
        "yes 4",
        "no 5",
        '|"4"|',
    ]
