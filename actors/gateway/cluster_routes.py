"""The endpoints of the cluster, for operators: who owns what, how limits are leased, and orders to move."""

from __future__ import annotations

__all__ = ("CLUSTER_HANDLERS",)

from typing import Any

from litestar import Request, get, post
from litestar.params import FromPath

from actors.cluster.desk import ClusterDesk
from actors.cluster.views import ClusterDone, ClusterView
from actors.gateway.handling import actor_of, edge_of, operator_only
from engine.errors import RefusedError

_Request = Request[Any, Any, Any]


@get("/v1/cluster", guards=[operator_only])
async def get_cluster(request: _Request) -> ClusterView:
    """Tell nodes, workers, partitions with their owners, what is on its way, and how limits are leased."""
    edge = edge_of(request)
    return await edge.intake.answered(_desk(request).view())


@post("/v1/cluster/rebalance", status_code=200, guards=[operator_only])
async def post_rebalance(request: _Request) -> ClusterDone:
    """Place partitions by the load as it is now."""
    edge = edge_of(request)
    return await edge.intake.answered(_desk(request).rebalance(actor_of(request)))


@post("/v1/cluster/scale/{workers:int}", status_code=200, guards=[operator_only])
async def post_scale(request: _Request, workers: FromPath[int]) -> ClusterDone:
    """Bring a number of workers about; refused where each has a store of its own. Waits until it is so."""
    return await _desk(request).scale(workers, actor_of(request))


@post("/v1/cluster/drain/{worker:str}", status_code=200, guards=[operator_only])
async def post_drain(request: _Request, worker: FromPath[str]) -> ClusterDone:
    """Take all partitions from a worker."""
    edge = edge_of(request)
    call = _desk(request).drain(worker, actor_of(request), back=False)
    return await edge.intake.answered(call)


@post("/v1/cluster/undrain/{worker:str}", status_code=200, guards=[operator_only])
async def post_undrain(request: _Request, worker: FromPath[str]) -> ClusterDone:
    """Let a drained worker have partitions again."""
    edge = edge_of(request)
    call = _desk(request).drain(worker, actor_of(request), back=True)
    return await edge.intake.answered(call)


def _desk(request: _Request) -> ClusterDesk:
    desk = edge_of(request).cluster
    if desk is None:
        raise RefusedError("this instance has no cluster")
    return desk


CLUSTER_HANDLERS = (get_cluster, post_rebalance, post_scale, post_drain, post_undrain)
