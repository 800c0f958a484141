"""The endpoints of experiments: their reports, and decisions by hand. For operators."""

from __future__ import annotations

__all__ = ("EXPERIMENT_HANDLERS",)

from typing import Any

from litestar import Request, get, post
from litestar.params import FromPath

from actors.gateway import planning_wire as wire
from actors.gateway.handling import operator_only, tenant_of
from actors.gateway.planning_asking import asked_of, keeper_of
from actors.planning.experiments import ExperimentList, ExperimentView

_Request = Request[Any, Any, Any]


@get("/v1/experiments", guards=[operator_only])
async def get_experiments(request: _Request) -> ExperimentList:
    """Report on the experiments of the current versions."""
    return keeper_of(request).experiments.report(tenant_of(request))


@get("/v1/experiments/{scenario:str}/{step:str}", guards=[operator_only])
async def get_experiment(
    request: _Request, scenario: FromPath[str], step: FromPath[str]
) -> ExperimentView:
    """Report on one: contacts and shares of each variant, what was decided when and why."""
    return keeper_of(request).experiments.view(tenant_of(request), f"{scenario}/{step}")


@post(
    "/v1/experiments/{scenario:str}/{step:str}/decide",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.DecideIn},
)
async def decide_experiment(
    request: _Request, scenario: FromPath[str], step: FromPath[str]
) -> ExperimentView:
    """Decide for a variant by hand; contacts who come later get it."""
    asked, author = await asked_of(request, wire.DecideIn)
    place = f"{scenario}/{step}"
    return keeper_of(request).experiments.decide(tenant_of(request), place, asked.variant, author)


EXPERIMENT_HANDLERS = (get_experiments, get_experiment, decide_experiment)
