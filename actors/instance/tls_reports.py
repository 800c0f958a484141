"""Sends reports on TLS to the domains that ask for them: yesterday's, by signed mail or HTTPS. RFC 8460 §3, §5.3, §5.4.

Once an hour it is looked whether a day is over whose reports aren't all gone. Which are, stands in `tls/DAY.sent` of
the data directory: `domain address` a line for each that has its report, `domain` once all have. A report's mail is the
same octets every time, so one that is sent again after a crash is known again by its content; one that is posted
again has the same report id, by which the receiver knows it (§4.4). A domain whose record can't be looked up now, or
whose server doesn't take the report, is asked again the next hour, until the day after.
"""

from __future__ import annotations

__all__ = ("TlsReporter", "report_poster", "report_targets")

import asyncio
import datetime as dt
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

import structlog

from actors.backend import SendResult
from actors.submission.content import Injector
from actors.submission.gathering import Transaction
from deliverability.compose.addresses import parse_mailbox
from deliverability.dns.asking import Answer, Asking, RecordType, ask
from deliverability.dns.mail_hosts import AddressPolicy, find_addresses
from deliverability.policy.tags import Mistake
from deliverability.policy.tls_report import (
    SessionRow,
    TlsReportFrame,
    compose_report,
    report_mail,
)
from deliverability.policy.tls_rpt import TlsRptRecord, select_tls_rpt
from deliverability.routing.destinations import allowed
from deliverability.transport.dns import DnsResolver
from deliverability.transport.https_post import parse_https_url, post
from deliverability.transport.tls_files import read_counts
from engine.config import Config
from engine.errors import InputError, VeredusError

log = structlog.get_logger()

LOOK_S = 3600.0
AFTER = dt.timedelta(hours=1)
"""A day's reports go so long after its end: by then all senders have written what they counted."""
ADDRESSES_MAX = 3  # of one record
CONTENT_TYPE = "application/tlsrpt+gzip"  # RFC 8460 §6.4
STREAM = "transactional"

Ask = Callable[[Asking[Answer]], Awaitable[Answer]]
Take = Callable[[Transaction], Awaitable[SendResult]]
Post = Callable[[str, bytes], Coroutine[None, None, "int | Mistake"]]
"""Posts a report to a URL; gives the status, or why there is none."""


class TlsReporter:
    """Reports of one instance.

    Args:
        config: `delivery.tls.report_from` says who reports.
        injector: takes the mails.
        ask: asks DNS.
        take: sends a transaction; answers when it is durable.
        now: UTC.
        post: brings a report to an `https:` address.
    """

    def __init__(
        self,
        config: Config,
        injector: Injector,
        ask: Ask,
        take: Take,
        now: Callable[[], dt.datetime],
        post: Post,
    ) -> None:
        self._contact = config.delivery.tls.report_from
        self._submitter = self._contact.rpartition("@")[2]
        self._tenant = next(t for t in config.tenant if self._submitter in t.from_domains)
        self._folder = Path(config.data_dir) / "tls"
        self._injector = injector
        self._ask = ask
        self._take = take
        self._now = now
        self._post = post

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
        done = set(sent.read_text("utf-8").splitlines()) if sent.exists() else set()
        told = []
        for domain in sorted({row.domain for row, _ in rows} - done):
            targets = await self._wanted(domain)
            if targets is None:
                continue
            left = [target for target in targets if f"{domain} {target}" not in done]
            brought = [target for target in left if await self._bring(domain, rows, day, target)]
            lines = [f"{domain} {target}" for target in brought]
            lines += [domain] if len(brought) == len(left) else []
            with sent.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            if brought:
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
        return report_targets(record) if isinstance(record, TlsRptRecord) else ()

    async def _bring(
        self, domain: str, rows: list[tuple[SessionRow, int]], day: dt.date, target: str
    ) -> bool:
        """Send or post one report. False: it is worth trying again."""
        frame = TlsReportFrame(
            self._tenant.from_name or self._submitter, self._contact, self._submitter, day
        )
        report = compose_report(frame, domain, rows)
        if not target.startswith("https:"):
            await self._send(frame, domain, report, target)
            return True
        status = await self._post(target, report)
        if isinstance(status, int) and 200 <= status < 300:
            return True
        why = status.why if isinstance(status, Mistake) else f"status {status}"
        # a refusal that the same report would meet again (RFC 9110 §15.5) is the end of it
        final = isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)
        log.warning(
            "tls_report_not_posted", domain=domain, url=target, why=why[:200], given_up=final
        )
        return final

    async def _send(self, frame: TlsReportFrame, domain: str, report: bytes, address: str) -> None:
        mail = report_mail(frame, domain, report, address, frame.end)
        message = self._injector.read_raw(self._tenant.name, mail)
        digest = blake2b(f"{address}\0".encode() + mail, digest_size=32).digest()
        result = await self._take(
            Transaction(self._tenant.name, "", (address,), message, digest, STREAM)
        )
        if result.status not in ("accepted", "repeated"):
            log.warning("tls_report_refused", status=result.status, reason=result.reason[:200])


def report_poster(config: Config, resolver: DnsResolver, tls: ssl.SSLContext) -> Post:
    """Make what posts reports: to public addresses outside `prohibited_networks`, whatever DNS says.

    A certificate that can't be verified stops no report: it may be what the report is about, and the report is no
    secret (RFC 8460 §3: submitters MAY ignore such errors). `tls` says whether it does.
    """

    async def bring(url: str, report: bytes) -> int | Mistake:
        target = parse_https_url(url)
        if isinstance(target, Mistake):
            return target
        delivery = config.delivery
        found, _ = await resolver.run(
            find_addresses(target.host, AddressPolicy(delivery.address_policy))
        )
        public = [one for one in found if ip_address(one).is_global]
        addresses = allowed(public, delivery.prohibited_networks)
        if found and not addresses:
            return Mistake(f"the addresses of {target.host} are not of the public network")
        return await post(target, addresses, tls, report, CONTENT_TYPE)

    return bring


def report_targets(record: TlsRptRecord) -> tuple[str, ...]:
    """Give the mailboxes of a record, as RFC 6068 writes them, and its `https:` URLs; what is neither is left out."""
    found = []
    for uri in record.uris:
        scheme, _, rest = uri.partition(":")
        if scheme.lower() == "https":
            if not isinstance(parse_https_url(f"https:{rest}"), Mistake):
                found.append(f"https:{rest}")
            continue
        try:
            found.append(str(parse_mailbox(unquote(rest.partition("?")[0]))))
        except InputError:
            continue
    return tuple(dict.fromkeys(found))[:ADDRESSES_MAX]
