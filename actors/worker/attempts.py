"""Writes the log of attempts of a sender, where the configuration wants one."""

from __future__ import annotations

__all__ = ("Attempts", "attempts_of")

from pathlib import Path

import structlog

from deliverability.message.records import AttemptOutcome
from deliverability.transport.attempt_log import AttemptLog, AttemptRecord
from deliverability.transport.delivery import Delivery
from deliverability.transport.smtp_client import Connection
from engine.config import Config
from engine.vocabulary import Message

log = structlog.get_logger()


class Attempts:
    """Follows a delivery. `file` None: nothing is written."""

    def __init__(self, file: AttemptLog | None) -> None:
        self._file = file
        self._delivery: Delivery | None = None

    def follow(self, delivery: Delivery) -> None:
        """Hear of its attempts from now on."""
        if self._file is not None:
            self._delivery = delivery
            delivery.attempted = self._attempted

    def look(self) -> None:
        """Let the system have what was written."""
        if self._file is not None:
            self._file.look()

    def close(self) -> None:
        """Write the rest and close."""
        if self._file is not None:
            self._file.close()

    def _attempted(
        self, message: Message, outcome: AttemptOutcome, connection: Connection | None
    ) -> None:
        assert self._file is not None
        source = tls = address = ""
        if connection is not None:
            address = connection.endpoint.host
            tls = connection.tls_version
            source = connection.endpoint.source
        self._file.write(
            AttemptRecord(
                at=outcome.at,
                message=message.message_id.hex(),
                attempt=message.attempt,
                tenant=message.tenant,
                stream=message.stream,
                kind=outcome.kind,
                domain=message.route.partition("/")[2],
                route=message.route,
                scenario=message.scenario,
                step=message.step,
                source=source,
                host=outcome.host,
                address=address,
                tls=tls,
                phase=outcome.phase,
                code=outcome.code,
                enhanced=outcome.enhanced,
                cause=outcome.cause,
                text=outcome.text,
            )
        )


def attempts_of(config: Config, data: Path, holder: str) -> Attempts:
    """Make the log of a sender: `attempts/DAY.HOLDER.jsonl` in the data directory."""
    wanted = config.delivery.attempt_log
    if wanted == "off" or (wanted == "auto" and config.delivery.mode == "twin"):
        return Attempts(None)
    return Attempts(AttemptLog(data / "attempts", holder, _failed))


def _failed(reason: str) -> None:
    log.warning("attempt_log_fails", reason=reason)
