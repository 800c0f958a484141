"""A call of an actor, and what its failure means to the caller."""

from __future__ import annotations

__all__ = ("WorkerLostError", "called")

from typing import Any

from actors.worker import wire
from engine.errors import VeredusError


class WorkerLostError(VeredusError):
    """The worker died or couldn't be reached: the call may have happened. Say `start`, then call again."""


async def called(call: Any, whom: str) -> Any:
    """Await a call's answer; what Ray raises becomes what we say."""
    import ray.exceptions

    try:
        return await call
    except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
        raise WorkerLostError(f"{whom}: {type(error).__name__}") from error
    except ray.exceptions.PendingCallsLimitExceeded as error:
        raise WorkerLostError(f"{whom}: too many calls wait") from error
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, wire.NotStartedError):
            raise WorkerLostError(f"{whom}: in a new life") from error
        raise (cause if isinstance(cause, Exception) else error) from None
