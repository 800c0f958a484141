"""What a campaign's report says of the queues that its mail stands in, or will stand behind."""

from __future__ import annotations

__all__ = ("with_outlook",)

import time
from typing import Any

import msgspec
from litestar import Request

from actors.gateway.handling import edge_of, tenant_of
from actors.health_forms import outlook_of
from actors.planning.campaigns import CampaignReport
from engine.errors import VeredusError

_Request = Request[Any, Any, Any]


async def with_outlook(request: _Request, report: CampaignReport) -> CampaignReport:
    """Add when slow queues of the tenant's bulk mail will be through, and what of it expires before its turn.

    As far as it is known now: where mail isn't paced, or a worker can't be asked, nothing is said.
    """
    queues = edge_of(request).queues
    if queues is None or report.finished:
        return report
    try:
        listed = await queues.list(tenant_of(request))
    except VeredusError:
        return report
    outlook = outlook_of(listed.queues, time.time_ns() // 1_000_000)
    return msgspec.structs.replace(report, outlook=outlook)
