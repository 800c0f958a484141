"""Sends reports on TLS to the domains that ask for them: yesterday's, by mail that a tenant signs. RFC 8460 §3, §5.3.

Once an hour it is looked whether a day is over whose reports aren't all gone. Which are, stands in `tls/DAY.sent` of
the data directory, a domain a line; and since a report's mail is the same octets every time, one that is sent again
after a crash is known again by its content. A domain whose record can't be looked up now is asked again the next
hour, until the day after. Reports by `https:` aren't made.
"""

from __future__ import annotations

__all__ = ("TlsReporter", "report_addresses")

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote

import structlog

from actors.backend import SendResult
from actors.submission.content import Injector
from actors.submission.gathering import Transaction
from deliverability.compose.addresses import parse_mailbox
from deliverability.dns.asking import Answer, Asking, RecordType, ask
from deliverability.policy.tls_report import (
    SessionRow,
    TlsReportFrame,
    compose_report,
    report_mail,
)
from deliverability.policy.tls_rpt import TlsRptRecord, select_tls_rpt
from deliverability.transport.tls_files import read_counts
from engine.config import Config
from engine.errors import InputError, VeredusError

log = structlog.get_logger()

LOOK_S = 3600.0
AFTER = dt.timedelta(hours=1)
"""A day's reports go so long after its end: by then all senders have written what they counted."""
ADDRESSES_MAX = 3  # of one record
STREAM = "transactional"

Ask = Callable[[Asking[Answer]], Awaitable[Answer]]
Take = Callable[[Transaction], Awaitable[SendResult]]


class TlsReporter:
    """Reports of one instance.

    Args:
        config: `delivery.tls.report_from` says who reports.
        injector: takes the mails.
        ask: asks DNS.
        take: sends a transaction; answers when it is durable.
        now: UTC.
    """

    def __init__(
        self,
        config: Config,
        injector: Injector,
        ask: Ask,
        take: Take,
        now: Callable[[], dt.datetime],
    ) -> None:
        self._contact = config.delivery.tls.report_from
        self._submitter = self._contact.rpartition("@")[2]
        self._tenant = next(t for t in config.tenant if self._submitter in t.from_domains)
        self._folder = Path(config.data_dir) / "tls"
        self._injector = injector
        self._ask = ask
        self._take = take
        self._now = now

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except (VeredusError, OSError) as error:
                log.warning("tls_reports_failed", error=str(error)[:300])
            await asyncio.sleep(LOOK_S)

    async def look(self) -> list[str]:
        """Send what is due. Returns the domains that were reported to.

        Raises: VeredusError: the engine takes nothing now; OSError: what was sent can't be noted.
        """
        day = (self._now() - AFTER).date() - dt.timedelta(days=1)
        rows = await asyncio.to_thread(read_counts, self._folder, day)
        sent = self._folder / f"{day.isoformat()}.sent"
        done = set(sent.read_text("utf-8").split()) if sent.exists() else set()
        told = []
        for domain in sorted({row.domain for row, _ in rows} - done):
            addresses = await self._wanted(domain)
            if addresses is None:
                continue
            for address in addresses:
                await self._send(domain, rows, day, address)
            with sent.open("a", encoding="utf-8") as file:
                file.write(f"{domain}\n")
            if addresses:
                told.append(domain)
        if told:
            log.info("tls_reports_sent", day=day.isoformat(), domains=len(told))
        return told

    async def _wanted(self, domain: str) -> tuple[str, ...] | None:
        """Tell where a domain wants reports; none: nowhere; None: that isn't known now."""
        answer = await self._ask(ask(f"_smtp._tls.{domain}", RecordType.TXT))
        if not answer.outcome.settled:
            return None
        record = select_tls_rpt(answer.texts)
        return report_addresses(record) if isinstance(record, TlsRptRecord) else ()

    async def _send(
        self, domain: str, rows: list[tuple[SessionRow, int]], day: dt.date, address: str
    ) -> None:
        frame = TlsReportFrame(
            self._tenant.from_name or self._submitter, self._contact, self._submitter, day
        )
        report = compose_report(frame, domain, rows)
        mail = report_mail(frame, domain, report, address, frame.end)
        message = self._injector.read_raw(self._tenant.name, mail)
        digest = blake2b(f"{address}\0".encode() + mail, digest_size=32).digest()
        result = await self._take(
            Transaction(self._tenant.name, "", (address,), message, digest, STREAM)
        )
        if result.status not in ("accepted", "repeated"):
            log.warning("tls_report_refused", status=result.status, reason=result.reason[:200])


def report_addresses(record: TlsRptRecord) -> tuple[str, ...]:
    """Give the mailboxes of a record, as RFC 6068 writes them; what isn't one is left out."""
    found = []
    for uri in record.uris:
        scheme, _, rest = uri.partition(":")
        if scheme.lower() != "mailto":
            continue
        try:
            found.append(str(parse_mailbox(unquote(rest.partition("?")[0]))))
        except InputError:
            continue
    return tuple(dict.fromkeys(found))[:ADDRESSES_MAX]
