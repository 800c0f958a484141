"""Whatever a batch of messages says, each request has one answer, and what is accepted could be sent."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from actors.gateway.server import Gateway
from actors.submission.content import Injector
from actors.worker.assembly import secret_of
from actors.worker.injected import Blobs
from actors.worker.rendering import letterheads
from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import network_client
from tests.actors.operations.living import config_of

NOW = 1_700_000_000_000
TEXTS = st.sampled_from(
    [
        "",
        "x",
        "{{ name }}",
        "{{ name",
        "{% for %}",
        "<p>hi</p>",
        "a\r\nBcc: b",
        "\0",
        "é",
        "{{ 1/0 }}",
    ]
) | st.text(max_size=8)
ADDRESSES = st.sampled_from(
    [
        "ann@inbox.example",
        "a@b",
        "@",
        "",
        "a b@c.d",
        "x@evil.example",
        '"q q"@shop.example',
        "é@é.de",
    ]
)
RAWS = st.sampled_from(
    [
        "RnJvbTogaGVsbG9Ac2hvcC5leGFtcGxlDQpTdWJqZWN0OiB4DQoNCmhpDQo=",
        "YQ==",
        "",
        "!",
        "RnJvbTogYUBldmlsLmV4YW1wbGUNCg0K",
    ]
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "idempotency_key": TEXTS,
        "contact": TEXTS,
        "address": ADDRESSES,
        "to": st.lists(
            st.fixed_dictionaries(
                {},
                optional={"contact": TEXTS, "address": ADDRESSES, "variables": st.just({"n": 1})},
            ),
            max_size=3,
        ),
        "template": TEXTS | st.just("raw:x"),
        "inline": st.fixed_dictionaries(
            {"subject": TEXTS},
            optional={
                "html": TEXTS,
                "text": TEXTS,
                "from_address": ADDRESSES,
                "from_name": TEXTS,
                "headers": st.dictionaries(TEXTS, TEXTS, max_size=2),
            },
        ),
        "raw": RAWS,
        "attachments": st.lists(
            st.fixed_dictionaries(
                {"name": TEXTS, "content": RAWS},
                optional={"type": TEXTS | st.just("image/png"), "content_id": TEXTS},
            ),
            max_size=2,
        ),
        "variables": st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=2),
        "stream": st.sampled_from(["transactional", "marketing", "x"]),
        "pool": TEXTS,
        "campaign": TEXTS,
        "reverse_path": ADDRESSES | st.just("<>"),
        "send_at": st.sampled_from([0, NOW, "2024-05-01T12:00:00Z", "x"]),
        "expires_at": st.sampled_from([NOW, "2099-05-01T12:00:00Z"]),
    },
)
GOOD = {"address": "ann@inbox.example", "template": "t", "idempotency_key": "k"}


@settings(max_examples=200, deadline=None)
@given(
    items=st.lists(ITEMS | ITEMS.map(lambda item: GOOD | item), min_size=1, max_size=3),
    form=st.sampled_from(["one", "array", "lines"]),
    key=st.booleans(),
)
def test_any_batch_is_answered(items: list[dict[str, Any]], form: str, key: bool) -> None:
    """2xx, 400 with places, 409, 413 or 422; accepted items have recipients, ids and a template each."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_ask(Path(folder), items, form, key))


async def _ask(folder: Path, items: list[dict[str, Any]], form: str, key: bool) -> None:
    config = config_of(folder)
    heads = letterheads(config, secret_of)
    injector = Injector(config, heads, Blobs(folder, NOW), lambda: NOW)
    backend = MemoryBackend()
    gateway = Gateway(config, backend, CollectorRegistry(), injector=injector)
    match form:
        case "one":
            body, kind = json.dumps(items[0]), "application/json"
        case "array":
            body, kind = json.dumps(items), "application/json"
        case _:
            body, kind = "\n".join(json.dumps(item) for item in items), "application/x-ndjson"
    headers = {"content-type": kind} | ({"idempotency-key": "h"} if key else {})
    async with network_client(gateway) as client:
        response = await client.post("/v1/messages", content=body.encode(), headers=headers)
    told = response.json()
    assert response.status_code in (200, 202, 400, 409, 413, 422), response.text
    if response.status_code == 400:
        assert told["errors"] or told["detail"]
        assert not backend.sends
    for request in backend.sends:
        assert request.items
        for one in request.items:
            assert len(one.body.message_id) == 16
            assert one.body.template
