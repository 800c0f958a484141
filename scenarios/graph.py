"""A scenario as a graph: nodes and edges, and from them Mermaid text or an SVG picture.

Edges may carry counts of a run, keyed by the id of the step they leave and the branch's name, as the
records `branch_taken` and `variant_drawn` have them.
"""

from __future__ import annotations

__all__ = ("Edge", "Graph", "Node", "graph_of", "mermaid", "svg")

from collections.abc import Mapping
from typing import Final, assert_never
from xml.sax.saxutils import escape

import msgspec

from scenarios.duration import format_duration
from scenarios.model import (
    End,
    ForEach,
    If,
    Notify,
    Repeat,
    Scenario,
    Score,
    Send,
    Split,
    Start,
    Step,
    Stop,
    Switch,
    Tag,
    Update,
    Wait,
    WaitFor,
)

Counts = Mapping[tuple[str, str], int]
_START, _END = "entry", "end"
_TEXT_MAX: Final = 34


class Node(msgspec.Struct, frozen=True):
    """A step, the entry, or the end."""

    id: str
    kind: str
    text: str


class Edge(msgspec.Struct, frozen=True):
    """A way from one node to another, with the branch's name ("" for the only one)."""

    source: str
    target: str
    branch: str = ""


class Graph(msgspec.Struct, frozen=True):
    """Nodes in the order of the file, and edges."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class _Builder:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []

    def steps(self, steps: tuple[Step, ...], after: str) -> str:
        """Add steps that go on at `after`; give the node where they begin."""
        names = [_END if isinstance(step, End) else step.id for step in steps]
        for at, step in enumerate(steps):
            following = names[at + 1] if at + 1 < len(steps) else after
            if not isinstance(step, End):
                self.nodes.append(_node(step))
                self._leave(step, following)
        return names[0] if names else after

    def _leave(self, step: Step, after: str) -> None:
        match step:
            case If(id=identity, then=then, otherwise=otherwise):
                self._ways(identity, (("then", then), ("else", otherwise)), after)
            case Switch(id=identity, cases=cases, otherwise=otherwise):
                named = tuple((str(at), case.then) for at, case in enumerate(cases))
                self._ways(identity, (*named, ("else", otherwise)), after)
            case Split(id=identity, variants=variants):
                ways = tuple((one.name, one.then) for one in variants)
                self._ways(identity, ways, after)
            case WaitFor(id=identity, waiters=waiters, otherwise=otherwise, timeout_ms=timeout):
                named = tuple((str(at), one.then) for at, one in enumerate(waiters))
                late = (("timeout", otherwise),) if timeout else ()
                self._ways(identity, (*named, *late), after)
            case ForEach(id=identity, steps=steps) | Repeat(id=identity, steps=steps):
                self.edges.append(Edge(identity, self.steps(steps, identity), "each"))
                self.edges.append(Edge(identity, after, "done"))
            case End():
                raise AssertionError("an end has no way on")
            case Wait() | Send() | Update() | Score() | Tag() | Start() | Stop() | Notify():
                self.edges.append(Edge(step.id, after))
            case _:
                assert_never(step)

    def _ways(
        self, identity: str, ways: tuple[tuple[str, tuple[Step, ...]], ...], after: str
    ) -> None:
        for branch, steps in ways:
            self.edges.append(Edge(identity, self.steps(steps, after), branch))


def graph_of(scenario: Scenario) -> Graph:
    """Make the graph of a scenario."""
    builder = _Builder()
    events = " or ".join(entry.event for entry in scenario.entries)
    first = builder.steps(scenario.steps, _END)
    nodes = (Node(_START, "entry", events), *builder.nodes, Node(_END, "end", "end"))
    return Graph(nodes, (Edge(_START, first), *builder.edges))


def _node(step: Step) -> Node:
    """Make the node of a step: its kind, and in a few words what it says."""
    kind = str(step.__struct_config__.tag)
    if isinstance(step, Split) and step.experiment:
        kind = "experiment"
    return Node(getattr(step, "id", ""), kind, _told(step))


def _told(step: Step) -> str:
    match step:
        case Wait(duration_ms=duration_ms, calendar=calendar):
            parts = [format_duration(duration_ms)] if duration_ms else []
            return " ".join([*parts, *(["calendar"] if calendar else [])])
        case WaitFor(waiters=waiters):
            return ", ".join(one.event for one in waiters)
        case If(condition=condition):
            return condition
        case Switch(cases=cases):
            return f"{len(cases)} cases"
        case Split(variants=variants):
            return ", ".join(f"{one.name} {one.weight}" for one in variants)
        case ForEach(items=items):
            return items
        case Repeat(times=times):
            return f"{times} times"
        case Send(template=template):
            return template
        case Update(attributes=attributes):
            return ", ".join(attributes)
        case Score(name=name, add=add):
            return f"{name} {add:+d}"
        case Tag(add=added, remove=removed):
            return " ".join([f"+{one}" for one in added] + [f"-{one}" for one in removed])
        case Start(scenario=name) | Stop(scenario=name):
            return name
        case Notify(channel=channel):
            return channel
        case End(reason=reason):
            return reason
        case _:
            assert_never(step)


def _label(edge: Edge, counts: Counts) -> str:
    count = counts.get((edge.source, edge.branch))
    return " ".join([edge.branch] * bool(edge.branch) + ([f"{count:,}"] if count else []))


# ---- Mermaid

_SHAPES: Final = {
    "entry": ('(["', '"])'),
    "end": ('(["', '"])'),
    "wait": ('[/"', '"/]'),
    "wait_for": ('[/"', '"/]'),
    "if": ('{"', '"}'),
    "switch": ('{"', '"}'),
    "split": ('{"', '"}'),
    "experiment": ('{"', '"}'),
}


def mermaid(graph: Graph, counts: Counts | None = None) -> str:
    """Write the graph as a Mermaid flowchart."""
    names = {node.id: f"n{at}" for at, node in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    for node in graph.nodes:
        begin, end = _SHAPES.get(node.kind, ('["', '"]'))
        shown = node.id if node.kind == "end" else f"{node.kind} {node.id}<br/>{_quoted(node.text)}"
        lines.append(f"  {names[node.id]}{begin}{shown}{end}")
    for edge in graph.edges:
        label = _label(edge, counts or {})
        arrow = f'-->|"{_quoted(label)}"|' if label else "-->"
        lines.append(f"  {names[edge.source]} {arrow} {names[edge.target]}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Escape for a Mermaid text in quotes; long texts are cut."""
    short = text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
    return short.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;")


# ---- SVG

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 220, 46, 30, 44, 20
_COLOURS: Final = {
    "entry": "#dbeafe",
    "end": "#e5e7eb",
    "wait": "#fef3c7",
    "wait_for": "#fef3c7",
    "send": "#dcfce7",
}


def svg(graph: Graph, counts: Counts | None = None) -> str:
    """Draw the graph: each node as low as its longest way from the entry."""
    places = _places(graph)
    width = max(x for x, _ in places.values()) + _WIDTH + _MARGIN
    height = max(y for _, y in places.values()) + _HEIGHT + _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#6b7280"/></marker></defs>'
    )
    parts = [head, tip]
    parts += [_edge_svg(edge, places, counts or {}) for edge in graph.edges]
    parts += [_node_svg(node, *places[node.id]) for node in graph.nodes]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Place nodes in rows by their depth; ways back of loops don't count."""
    order = {node.id: at for at, node in enumerate(graph.nodes)}
    depth = dict.fromkeys(order, 0)
    forward = [edge for edge in graph.edges if order[edge.source] < order[edge.target]]
    for edge in sorted(forward, key=lambda one: order[one.source]):
        depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
    rows: dict[int, int] = {}
    places = {}
    for node in graph.nodes:
        column = rows.get(depth[node.id], 0)
        rows[depth[node.id]] = column + 1
        x = _MARGIN + column * (_WIDTH + _GAP_X)
        places[node.id] = (x, _MARGIN + depth[node.id] * (_HEIGHT + _GAP_Y))
    return places


def _node_svg(node: Node, x: int, y: int) -> str:
    fill = _COLOURS.get(node.kind, "#ffffff")
    title = node.kind if node.id == node.kind else f"{node.kind} {node.id}"
    text = node.text if len(node.text) <= _TEXT_MAX else node.text[: _TEXT_MAX - 1] + "…"
    middle = x + _WIDTH // 2
    second = "" if node.kind == "end" else escape(text)
    return (
        f'<g><title>{escape(node.text)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" rx="6" fill="{fill}" stroke="#6b7280"/>'
        f'<text x="{middle}" y="{y + 19}" text-anchor="middle" font-weight="bold">'
        f'{escape(title)}</text><text x="{middle}" y="{y + 36}" text-anchor="middle">{second}</text></g>'
    )


def _edge_svg(edge: Edge, places: Mapping[str, tuple[int, int]], counts: Counts) -> str:
    (from_x, from_y), (to_x, to_y) = places[edge.source], places[edge.target]
    if to_y > from_y:
        begin_x, begin_y = from_x + _WIDTH // 2, from_y + _HEIGHT
        end_x, end_y = to_x + _WIDTH // 2, to_y
        bend = (begin_y + end_y) // 2
        path = f"M{begin_x},{begin_y} C{begin_x},{bend} {end_x},{bend} {end_x},{end_y}"
    else:  # the way back of a loop, around the right side
        begin_x, begin_y = from_x + _WIDTH, from_y + _HEIGHT // 2
        end_x, end_y = to_x + _WIDTH, to_y + _HEIGHT // 2
        side = max(begin_x, end_x) + _GAP_X
        path = f"M{begin_x},{begin_y} C{side},{begin_y} {side},{end_y} {end_x},{end_y}"
    label = escape(_label(edge, counts))
    text_x, text_y = (begin_x + end_x) // 2 + 4, (begin_y + end_y) // 2
    shown = f'<text x="{text_x}" y="{text_y}" fill="#374151">{label}</text>' if label else ""
    line = f'<path d="{path}" fill="none" stroke="#6b7280" marker-end="url(#tip)"/>'
    return line + shown
