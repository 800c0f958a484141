"""OpenAPI document and manual: every endpoint, body and problem is described."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from tests.actors.gateway.asking import talk


def test_the_openapi_document_has_every_endpoint_and_its_body() -> None:
    """Every endpoint is described, takers with their body, and every reference leads somewhere."""

    async def asked(client: httpx.AsyncClient) -> None:
        tree = (await client.get("/v1/openapi.json")).json()
        found = {
            f"{method.upper()} {path}": operation
            for path, operations in tree["paths"].items()
            for method, operation in operations.items()
        }
        assert set(found) == ENDPOINTS
        takers = {name for name, operation in found.items() if "requestBody" in operation}
        bodiless = {name for name in ENDPOINTS if name.startswith("GET") or "/quarantine/" in name}
        bodiless |= {"POST /v1/suppressions/roles", "POST /v1/feedback"}  # the latter takes a mail
        bodiless |= {"POST /v1/health/exports"}  # takes a file as text
        bodiless |= {"POST /v1/webhook/test", "POST /v1/segments/recount"}
        bodiless |= {name for name in ENDPOINTS if "/v1/cluster" in name}
        assert takers == ENDPOINTS - bodiless
        for operation in found.values():
            assert operation["description"].endswith(".")
            assert "default" in operation["responses"]
        text = json.dumps(tree)
        names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert names <= set(tree["components"]["schemas"])

    talk(asked)


ENDPOINTS = {
    "POST /v1/events",
    "PUT /v1/contacts",
    "POST /v1/contacts/{contact}/consents",
    "GET /v1/contacts/{contact}",
    "DELETE /v1/contacts/{contact}",
    "POST /v1/messages",
    "GET /v1/messages/{message_id}",
    "GET /v1/messages/{message_id}/explain",
    "GET /v1/outcomes",
    "GET /v1/queues",
    "GET /v1/queues/selection",
    "POST /v1/queues/{action}",
    "GET /v1/cluster",
    "POST /v1/cluster/rebalance",
    "POST /v1/cluster/scale/{workers}",
    "POST /v1/cluster/drain/{worker}",
    "POST /v1/cluster/undrain/{worker}",
    "GET /v1/doubts",
    "POST /v1/contacts/{contact}/merge",
    "GET /v1/notices/{channel}",
    "POST /v1/coupons/{pool}",
    "POST /v1/coupons/{pool}/close",
    "GET /v1/coupons",
    "GET /v1/coupons/{pool}",
    "GET /v1/coupons/{pool}/codes/{code}",
    "GET /v1/webhook",
    "POST /v1/webhook/test",
    "POST /v1/doubts/{message_id}",
    "GET /v1/status",
    "GET /v1/conservation",
    "GET /v1/quarantine",
    "GET /v1/quarantine/{entry}",
    "POST /v1/quarantine/{entry}/replay",
    "DELETE /v1/quarantine/{entry}",
    "GET /v1/audit",
    "POST /v1/scenarios",
    "GET /v1/scenarios",
    "GET /v1/scenarios/{name}",
    "POST /v1/scenarios/{name}/rollback",
    "POST /v1/scenarios/{name}/migrate",
    "POST /v1/scenarios/{name}/pause",
    "POST /v1/scenarios/{name}/resume",
    "GET /v1/scenarios/{name}/journeys",
    "POST /v1/scenarios/{name}/journeys",
    "GET /v1/runs",
    "GET /v1/runs/{run}",
    "POST /v1/runs/{run}/revert",
    "POST /v1/runs/{run}/{action}",
    "GET /v1/segments",
    "POST /v1/segments",
    "POST /v1/segments/refresh",
    "POST /v1/segments/recount",
    "POST /v1/segments/count",
    "POST /v1/products/{name}",
    "GET /v1/products",
    "GET /v1/products/{name}",
    "GET /v1/campaigns",
    "POST /v1/campaigns",
    "GET /v1/campaigns/{name}",
    "POST /v1/campaigns/{name}/test",
    "POST /v1/campaigns/{name}/{action}",
    "GET /v1/experiments",
    "GET /v1/experiments/{scenario}/{step}",
    "POST /v1/experiments/{scenario}/{step}/decide",
    "GET /v1/contacts/{contact}/decisions",
    "POST /v1/suppressions",
    "POST /v1/suppressions/roles",
    "POST /v1/suppressions/check",
    "GET /v1/suppressions",
    "DELETE /v1/suppressions",
    "POST /v1/feedback",
    "GET /v1/health/lanes",
    "POST /v1/health/exports",
    "GET /v1/feedback",
    "GET /v1/feedback/findings",
    "GET /v1/feedback/rates",
    "GET /metrics",
    "GET /healthz",
    "GET /readyz",
}


def test_the_manual_lists_every_endpoint_and_problem() -> None:
    """docs/http-api.md knows all endpoints, and all types of problems that the code makes."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "http-api.md").read_text(encoding="utf-8")
    assert {name for name in ENDPOINTS if f"| `{name}` |" not in page} == set()
    sources = [file.read_text("utf-8") for file in (root / "actors" / "gateway").glob("*.py")]
    kinds = {kind for text in sources for kind in re.findall(r'problem\(\d+, "([a-z-]+)"', text)}
    assert len(kinds) > 8
    assert {kind for kind in kinds if f"`{kind}`" not in page} == set()
