"""How messages of a stream are treated, as the catalog says."""

from __future__ import annotations

__all__ = ("DEFAULT_POLICY", "HOUR", "StreamPolicy", "policy_of")

from typing import Literal

import msgspec

from deliverability.message.state import MessageState
from engine.keyspace import tenant_of
from engine.machine import Context
from engine.vocabulary import Send

HOUR = 3_600_000


class StreamPolicy(msgspec.Struct, frozen=True):
    """How messages of a stream are treated: published in the catalog's section `stream`."""

    in_doubt: Literal["resend", "hold"] = "resend"
    expires_ms: int = 72 * HOUR
    retention_ms: int = 30 * 24 * HOUR
    attempts_max: int = 60
    lead_ms: int = 0  # so much earlier than it was due the most eager reader's mail stands in line; 0: nobody's


DEFAULT_POLICY = StreamPolicy()


def policy_of(state: MessageState | Send, context: Context) -> StreamPolicy:
    """Find the policy of the message's stream; the default where the catalog has none."""
    stream = state.stream if isinstance(state, Send) else state.send.stream
    found = context.catalog.find("stream", tenant_of(context.key), stream)
    return found if isinstance(found, StreamPolicy) else DEFAULT_POLICY
