"""A scenario as a graph: nodes and edges, and from them Mermaid text or an SVG picture.

Edges may carry counts of a run, keyed by the id of the step they leave and the branch's name, as the
records `branch_taken` and `variant_drawn` have them.
"""

from __future__ import annotations

__all__ = ("ENTRY", "Edge", "Graph", "Node", "graph_of", "mermaid", "svg")

from collections.abc import Mapping
from typing import Final, assert_never
from xml.sax.saxutils import escape

import msgspec

from scenarios.duration import format_duration
from scenarios.model import (
    Coupon,
    End,
    ForEach,
    If,
    Notify,
    Products,
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
    Webhook,
)

Counts = Mapping[tuple[str, str], int]
ENTRY = "entry"
"""The node where journeys begin."""
_END = "end"
_TEXT_MAX: Final = 34


class Node(msgspec.Struct, frozen=True):
    """A step, the entry, or the end; `column` is where it is drawn."""

    id: str
    kind: str
    text: str
    column: int = 0


class Edge(msgspec.Struct, frozen=True):
    """A way from one node to another, with the branch's name ("" for the only one).

    `label` is what is shown; a branch without steps is drawn in the column `via` of its own.
    """

    source: str
    target: str
    branch: str = ""
    label: str = ""
    via: int = -1


class Graph(msgspec.Struct, frozen=True):
    """Nodes in the order of the file, and edges."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


_Way = tuple[str, str, tuple[Step, ...]]  # branch, label, steps


class _Builder:
    """Walks the steps; branches get columns side by side, so that no way runs through a node."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []

    def steps(self, steps: tuple[Step, ...], after: str, column: int) -> tuple[str, int]:
        """Add steps that go on at `after`; give the node where they begin, and their columns."""
        names = [_END if isinstance(step, End) else step.id for step in steps]
        width = 1
        for at, step in enumerate(steps):
            following = names[at + 1] if at + 1 < len(steps) else after
            if not isinstance(step, End):
                self.nodes.append(_node(step, column))
                width = max(width, self._leave(step, following, column))
        return (names[0] if names else after), width

    def _leave(self, step: Step, after: str, column: int) -> int:
        """Add the ways out of a step; give how many columns they take."""
        if isinstance(step, (ForEach, Repeat)):
            first, width = self.steps(step.steps, step.id, column + 1)
            self.edges.append(Edge(step.id, first, "each", "each"))
            self.edges.append(Edge(step.id, after, "done", "done"))
            return width + 1
        assert not isinstance(step, End)
        ways = _ways_of(step)
        if not ways:
            self.edges.append(Edge(step.id, after))
            return 1
        taken = 0
        for branch, label, steps in ways:
            first, width = self.steps(steps, after, column + taken)
            via = -1 if steps and first != _END else column + taken
            self.edges.append(Edge(step.id, first, branch, label, via))
            taken += width
        return taken


def _ways_of(step: Step) -> list[_Way]:
    match step:
        case If(then=then, otherwise=otherwise):
            return [("then", "yes", then), ("else", "no", otherwise)]
        case Switch(cases=cases, otherwise=otherwise):
            named = [(str(at), case.when, case.then) for at, case in enumerate(cases)]
            return [*named, ("else", "else", otherwise)]
        case Split(variants=variants):
            return [(one.name, one.name, one.then) for one in variants]
        case WaitFor(waiters=waiters, otherwise=otherwise, timeout_ms=timeout_ms):
            named = [(str(at), one.event, one.then) for at, one in enumerate(waiters)]
            late = f"after {format_duration(timeout_ms)}"
            return [*named, ("timeout", late, otherwise)] if timeout_ms else named
        case Webhook(otherwise=otherwise, timeout_ms=timeout_ms):
            late = f"refused, or after {format_duration(timeout_ms)}"
            return [("taken", "taken", ()), ("else", late, otherwise)]
        case Coupon(otherwise=otherwise):
            return [("taken", "a code", ()), ("else", "none", otherwise)]
        case Products(otherwise=otherwise):
            return [("found", "found", ()), ("else", "none", otherwise)]
        case _:
            return []


def graph_of(scenario: Scenario) -> Graph:
    """Make the graph of a scenario."""
    builder = _Builder()
    events = " or ".join(entry.event or entry.becomes for entry in scenario.entries)
    first, _ = builder.steps(scenario.steps, _END, 0)
    nodes = (Node(ENTRY, "entry", events), *builder.nodes, Node(_END, "end", ""))
    return Graph(nodes, (Edge(ENTRY, first), *builder.edges))


def _node(step: Step, column: int) -> Node:
    """Make the node of a step: its kind, and in a few words what it says."""
    kind = str(step.__struct_config__.tag)
    if isinstance(step, Split) and step.experiment:
        kind = "experiment"
    return Node(getattr(step, "id", ""), kind, _told(step), column)


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
        case (
            Start(scenario=name)
            | Stop(scenario=name)
            | Notify(channel=name)
            | Webhook(endpoint=name)
            | Coupon(pool=name)
            | Products(source=name)
        ):
            return name
        case End(reason=reason):
            return reason
        case _:
            assert_never(step)


def _label(edge: Edge, counts: Counts) -> str:
    count = counts.get((edge.source, edge.branch))
    return " ".join(filter(None, (_cut(edge.label), f"{count:,}" if count else "")))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"


# ---- Mermaid

_SHAPES: Final = {
    "entry": ('(["', '"])'),
    "end": ('(["', '"])'),
    "wait": ('[/"', '"/]'),
    "wait_for": ('[/"', '"/]'),
    "webhook": ('[["', '"]]'),
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
        shown = (
            node.id
            if node.kind == "end"
            else f"{node.kind} {node.id}<br/>{_quoted(_cut(node.text))}"
        )
        lines.append(f"  {names[node.id]}{begin}{shown}{end}")
    for edge in graph.edges:
        label = _label(edge, counts or {})
        arrow = f'-->|"{_quoted(label)}"|' if label else "-->"
        lines.append(f"  {names[edge.source]} {arrow} {names[edge.target]}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Escape for a Mermaid text in quotes."""
    return text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;")


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
        # A way in a column of its own has no node there: the join is a row lower.
        step = 2 if edge.via >= 0 else 1
        depth[edge.target] = max(depth[edge.target], depth[edge.source] + step)
    return {
        node.id: (_column(node.column), _MARGIN + depth[node.id] * (_HEIGHT + _GAP_Y))
        for node in graph.nodes
    }


def _column(column: int) -> int:
    return _MARGIN + column * (_WIDTH + _GAP_X)


def _node_svg(node: Node, x: int, y: int) -> str:
    fill = _COLOURS.get(node.kind, "#ffffff")
    title = node.kind if node.id == node.kind else f"{node.kind} {node.id}"
    middle = x + _WIDTH // 2
    return (
        f"<g><title>{escape(node.text)}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" rx="6" fill="{fill}" stroke="#6b7280"/>'
        f'<text x="{middle}" y="{y + 19}" text-anchor="middle" font-weight="bold">'
        f'{escape(title)}</text><text x="{middle}" y="{y + 36}" text-anchor="middle">'
        f"{escape(_cut(node.text))}</text></g>"
    )


def _edge_svg(edge: Edge, places: Mapping[str, tuple[int, int]], counts: Counts) -> str:
    (from_x, from_y), (to_x, to_y) = places[edge.source], places[edge.target]
    if to_y > from_y:
        lane = (_column(edge.via) if edge.via >= 0 else max(from_x, to_x)) + _WIDTH // 2
        path = _down(from_x + _WIDTH // 2, from_y + _HEIGHT, lane, to_x + _WIDTH // 2, to_y)
        text_x, text_y = lane + 4, from_y + _HEIGHT + _GAP_Y - 6
    else:  # the way back of a loop, up on its right side
        side = max(from_x, to_x) + _WIDTH
        begin_y, end_y = from_y + _HEIGHT // 2, to_y + _HEIGHT // 2
        curve = f"C{side + _GAP_X},{begin_y} {side + _GAP_X},{end_y} {to_x + _WIDTH},{end_y}"
        path = f"M{from_x + _WIDTH},{begin_y} {curve}"
        text_x, text_y = side + 4, (begin_y + end_y) // 2
    label = escape(_label(edge, counts))
    shown = f'<text x="{text_x}" y="{text_y}" fill="#374151">{label}</text>' if label else ""
    line = f'<path d="{path}" fill="none" stroke="#6b7280" marker-end="url(#tip)"/>'
    return line + shown


def _down(x: int, y: int, lane: int, end_x: int, end_y: int) -> str:
    """Go down in a lane: over to it below the source, out of it above the target."""
    half = _GAP_Y // 2
    enter = f"M{x},{y} C{x},{y + half} {lane},{y + half} {lane},{y + _GAP_Y}"
    leave = (
        f"L{lane},{end_y - _GAP_Y} C{lane},{end_y - half} {end_x},{end_y - half} {end_x},{end_y}"
    )
    if end_y - y <= _GAP_Y:
        return f"M{x},{y} C{x},{y + half} {end_x},{y + half} {end_x},{end_y}"
    return f"{enter} {leave}"
