"""What became of the messages of a run, read from the workers' feeds."""

from __future__ import annotations

__all__ = ("Outcomes",)

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from actors.cluster.handle import WorkerHandle
from actors.report.collecting import DELAY_BOUNDS_S, HistogramCollector, SlowestCollector
from actors.report.run import SlowMessage
from deliverability.message.records import OutcomeRecord

PAGE = 5000
_RECORD = msgspec.msgpack.Decoder(OutcomeRecord)


class Sent(msgspec.Struct, frozen=True):
    """One line of SENT: a message that was handed over at least once."""

    contact: str
    scenario: str
    step: str
    day: str  # of log time, UTC, of the first hand-over
    message_id: str


class Outcomes:
    """The outcomes of a run: final ones by message, counts of all."""

    def __init__(self) -> None:
        self.final: list[OutcomeRecord] = []
        self.by_domain: dict[str, Counter[str]] = {}
        self.causes: dict[str, Counter[str]] = {}
        self.delays = HistogramCollector("s", DELAY_BOUNDS_S)
        self.slowest = SlowestCollector()

    async def read(self, worker: WorkerHandle) -> None:
        """Read one worker's feed to its end."""
        position = n = 0
        while True:
            page = await worker.feed(position, n, PAGE)
            for entry in page.entries:
                position, n = entry.position, entry.n
                if entry.channel == "outcome":
                    self._take(_RECORD.decode(entry.body))
            if not page.entries:
                return

    def _take(self, record: OutcomeRecord) -> None:
        counts = self.by_domain.setdefault(record.domain, Counter())
        # a message that expired at the end of an attempt was deferred by it once more
        last = record.kind == "expired" and (record.code or record.cause == "connection")
        counts["deferred" if last else record.kind] += 1
        if last or record.kind == "deferred":
            self.causes.setdefault(record.domain, Counter())[record.cause] += 1
        if record.final:
            self.final.append(record)
            if record.kind == "delivered":
                self._delivered(record)

    def _delivered(self, record: OutcomeRecord) -> None:
        """Measure how long it took, in log time."""
        self.delays.add((record.at - record.accepted) / 1000)
        self.slowest.add(
            SlowMessage(
                record.message_id,
                record.scenario,
                record.step,
                record.domain,
                record.attempt,
                record.accepted,
                record.at,
            )
        )

    def write_sent(self, path: Path, domain: str) -> int:
        """Write SENT: one NDJSON line a message that was handed over. Returns how many."""
        encode = msgspec.json.Encoder().encode
        number = 0
        with path.open("wb") as file:
            for record in self.final:
                if record.first_attempt:
                    day = (
                        datetime.fromtimestamp(record.first_attempt / 1000, UTC).date().isoformat()
                    )
                    line = Sent(
                        record.contact,
                        record.scenario,
                        record.step,
                        day,
                        f"{record.message_id}@{domain}",
                    )
                    file.write(encode(line) + b"\n")
                    number += 1
        return number
