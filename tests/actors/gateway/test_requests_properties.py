"""Whatever a client sends, it gets an answer that is no mistake of ours."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.gateway.memory_backend import MemoryBackend
from tests.actors.gateway.serving import gateway_for

GATEWAY = gateway_for("http.body_bytes_max = 1024\nhttp.batch_max = 5", MemoryBackend())

WORDS = "v1 events contacts messages outcomes consents explain audit status metrics openapi.json"
SEGMENTS = st.sampled_from([*WORDS.split(), "%2F", "%00", "%FF", "%", "a%20b", "..", "", "0" * 32])
EVENT = {"id": "1", "name": "n", "contact": "c"}
CONTACT = {"contact": "c", "attributes": {"x": 1}}
CONSENT = {"topic": "t", "granted": True}
MESSAGE = {"contact": "c", "template": "t", "idempotency_key": "k"}
TARGETS = st.sampled_from(
    [
        ("POST", "/v1/events", EVENT),
        ("PUT", "/v1/contacts", CONTACT),
        ("POST", "/v1/messages", MESSAGE),
        ("POST", "/v1/contacts/c/consents", CONSENT),
        ("DELETE", "/v1/contacts/c%2Fd", {}),
        ("GET", "/v1/outcomes", {}),
        ("GET", "/v1/contacts/c", {}),
    ]
)
ANYWHERE = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.just(EVENT),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False),
        st.text(),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = (
    "id name contact at data attributes version consents topic granted template idempotency_key "
    "variables stream address send_at reason"
)
CHANGES = st.dictionaries(
    st.sampled_from(FIELDS.split()),
    VALUES | st.sampled_from(["c1", "2024-05-01T12:00:00Z", 1_700_000_000_000]),
    max_size=1,
)


def as_body(good: dict[str, Any], changes: list[dict[str, Any]], form: str) -> bytes:
    """Write items that are good but for a change each: one, an array, or lines."""
    items = [json.dumps(good | change).encode() for change in changes]
    match form:
        case "one":
            return items[0]
        case "array":
            return b"[" + b",".join(items) + b"]"
        case _:
            return b"\n".join(items)


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        b"content-type": st.sampled_from([b"application/x-ndjson", b"text/plain", b"\xff", b""]),
        b"host": st.sampled_from([b"localhost", b"evil.example", b"[::1", b"\xff"]),
        b"authorization": st.sampled_from([b"Bearer x", b"Basic", b"\xff", b""]),
        b"idempotency-key": st.binary(max_size=5),
        b"content-length": st.sampled_from([b"0", b"5", b"99999999999", b"x", b"-1"]),
        b"veredus-tenant": st.binary(max_size=4),
        b"cookie": st.binary(max_size=8),
        b"accept": st.binary(max_size=8),
    },
)
QUERIES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"limit=5&after=zz", b"after=1", b"limit=-1", b"wait_ms=x", b"limit=1&limit=2"]
    ),
)


async def answer(
    scope: dict[str, Any], body: bytes, pieces: int
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send one request to the network's door, its body in pieces."""
    step = max(1, len(body) // pieces)
    parts = [body[start : start + step] for start in range(0, len(body), step)] or [b""]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    await GATEWAY.network(scope, receive, send)
    start, *rest = sent
    return start["status"], dict(start["headers"]), b"".join(part["body"] for part in rest)


@settings(max_examples=150, deadline=None)
@given(
    target=TARGETS | ANYWHERE,
    query=QUERIES,
    headers=HEADERS,
    plain=st.booleans(),
    changes=st.lists(CHANGES, min_size=1, max_size=6),
    form=st.sampled_from(["one", "one", "array", "lines", "bytes"]),
    junk=st.binary(max_size=60),
    pieces=st.integers(1, 3),
)
def test_any_request_is_answered_and_never_with_a_mistake_of_ours(
    target: tuple[str, str, dict[str, Any]],
    query: bytes,
    headers: dict[bytes, bytes],
    plain: bool,
    changes: list[dict[str, Any]],
    form: str,
    junk: bytes,
    pieces: int,
) -> None:
    """Each request has one complete answer below 500; each error is a problem with its own status."""
    method, path, good = target
    body = junk if form == "bytes" else as_body(good, changes, form)
    usual = {b"host": b"localhost", b"content-type": b"application/json"}
    headers = usual if plain else usual | headers
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query,
        "headers": list(headers.items()),
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    status, got, content = asyncio.run(answer(scope, body, pieces))
    assert 200 <= status < 500
    if status >= 400 and method != "HEAD":
        assert got[b"content-type"] == b"application/problem+json"
        assert json.loads(content)["status"] == status
