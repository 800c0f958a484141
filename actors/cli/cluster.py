"""`veredus cluster`: workers, nodes and partitions of a running instance; drain, rebalance, scale."""

from __future__ import annotations

__all__ = ("app",)

import os
import re
from typing import Annotated

import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import print_json, print_line, print_table
from actors.cluster.views import ClusterDone, ClusterView, NodeView
from engine.errors import InputError, Place

app = new_app("Workers, nodes and partitions of a running instance.")

_Worker = Annotated[str, typer.Argument(metavar="WORKER", help="w0, w1, ...")]
SCALE_TIMEOUT_S = 900.0
"""As long as a cloud takes to bring a node, and more."""

_WORKER = re.compile(r"w\d{1,4}")


@app.command()
def status(data: Data = None, as_json: AsJson = False) -> None:
    """Show the cluster at a glance: who owns how much, what is on its way, how limits are leased."""
    view = _view(data)
    if as_json:
        print_json(view)
        return
    alive, nodes = sum(one.alive for one in view.workers), sum(one.alive for one in view.nodes)
    print_line(
        f"{alive} of {len(view.workers)} workers alive on {nodes} nodes; {len(view.partitions)} partitions, "
        f"{view.in_motion} on their way; routing version {view.version}"
    )
    if not view.moves:
        print_line('Partitions stay with their workers: store.kind = "redis" lets them move.')
    print_table(
        "Workers",
        ("worker", "alive", "owns", "holds", "load", "draining"),
        [(w.name, w.alive, w.owns, w.holds, round(w.load, 1), w.draining) for w in view.workers],
    )
    if view.leases:
        print_table(
            "Leases",
            ("budget", "connections", "of", "messages/min", "of"),
            [
                (u.budget, u.connections, u.connections_max, u.per_minute, u.per_minute_max)
                for u in view.leases
            ],
        )


@app.command()
def nodes(data: Data = None, as_json: AsJson = False) -> None:
    """List the nodes of Ray, and what is on each: workers, and the controller."""
    view = _view(data)
    if as_json:
        print_json(view.nodes)
        return
    print_table(
        "Nodes",
        ("node", "address", "alive", "CPUs", "on it"),
        [(n.id[:12], n.address, n.alive, n.cpus, _on_it(n)) for n in view.nodes],
    )


def _on_it(node: NodeView) -> str:
    return " ".join(["controller", *node.workers] if node.controller else node.workers)


@app.command()
def partitions(
    worker: Annotated[str, typer.Option("--worker", help="Only of this one.")] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List partitions with their owners, and which are on their way."""
    found = [one for one in _view(data).partitions if not worker or one.owner == worker]
    if as_json:
        print_json(found)
        return
    rows = [(one.partition, one.owner or "nobody", one.in_motion) for one in found]
    print_table("Partitions", ("partition", "owner", "on its way"), rows)


@app.command()
def drain(
    worker: _Worker,
    undo: Annotated[bool, typer.Option("--undo", help="Let it have partitions again.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take all partitions from a worker: what it has in hand is finished first, nothing is lost."""
    if not _WORKER.fullmatch(worker):
        raise InputError(f"there is no worker {worker!r}", Place(path="WORKER"), "w0, w1, ...")
    _order(data, f"/v1/cluster/{'undrain' if undo else 'drain'}/{quoted(worker)}", as_json=as_json)


@app.command()
def rebalance(data: Data = None, as_json: AsJson = False) -> None:
    """Place partitions by the load as it is now."""
    _order(data, "/v1/cluster/rebalance", as_json=as_json)


@app.command()
def scale(
    workers: Annotated[int, typer.Argument(min=1, max=1024, help="How many there should be.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring a number of workers about: new ones are started, those that go hand their partitions over first.

    Waits until it is so: for a node that has room (scaling.node_s at most), for a drain (scaling.drain_s). With
    scaling.workers_max set the number goes on changing by itself. Only with store.kind = "redis".
    """
    _order(data, f"/v1/cluster/scale/{workers}", as_json=as_json, timeout_s=SCALE_TIMEOUT_S)


def _view(data: Data) -> ClusterView:
    with Client(find_data_dir(data, os.environ)) as client:
        return client.get("/v1/cluster", ClusterView)


def _order(data: Data, path: str, *, as_json: bool, timeout_s: float = 60.0) -> None:
    with Client(find_data_dir(data, os.environ), timeout_s=timeout_s) as client:
        done = client.give("POST", path, b"", ClusterDone)
    if as_json:
        print_json(done)
    else:
        print_line(f"{done.done}; {done.moving} partitions on their way")
