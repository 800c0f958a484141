"""Queue commands over the workers of a cluster: marks are published like anything else in the catalog.

A command is first a record in the control log, then a mark in the catalog, and is answered when all workers decide by
it. Marks that every worker has swept are taken out with the next command.
"""

from __future__ import annotations

__all__ = ("ClusterQueues",)

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from actors.cluster.running import Cluster
from actors.health_views import WaitView
from actors.instance.backend import ClusterBackend
from actors.queues import (
    DoubtList,
    MarkView,
    QueueAction,
    QueueCommand,
    QueueDone,
    QueueLine,
    QueueList,
    QueueStory,
    Settled,
)
from actors.worker.wire import QueueQuestion, WireArrival, WorkerStatus
from deliverability.marks import ENDS, MARKS, SECTION, Mark, Marks, Selection
from deliverability.message.records import Settle
from engine.config import Config
from engine.control_log import Change, digest_of
from engine.errors import InputError
from engine.keyspace import message_key
from engine.store.catalog_files import CatalogFiles
from engine.store.control_file import ControlFile

MARKS_MAX = 200
"""Marks in force at a time; each is looked at by each decision about a message."""

_MARKS = msgspec.json.Decoder(Marks)


class ClusterQueues:
    """Queues of all tenants.

    Args:
        config: the data directory.
        cluster: its workers.
        backend: how they are asked.
        domains_of_site: gives the domains that a site serves, as far as it is known.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        backend: ClusterBackend,
        domains_of_site: Callable[[str], tuple[str, ...]] = lambda site: (site,),
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._backend = backend
        self._domains_of_site = domains_of_site
        self._data = Path(config.data_dir)
        self._changing = asyncio.Lock()
        self.estimate: Callable[[QueueLine], WaitView | None] = lambda _line: None
        """Tells when the last message of a queue will go; None: it isn't known."""

    async def list(self, tenant: str) -> QueueList:
        """Tell a tenant's queues and marks."""
        answers = await self._backend.ask_all(lambda worker: partial(worker.queues, tenant))
        totals: dict[tuple[int, str, str, str], QueueLine] = {}
        for line in (line for answer in answers for line in answer.lines):
            place = (line.message_class, line.pool, line.domain, line.state)
            totals[place] = _added(totals[place], line) if place in totals else line
        statuses = await self._backend.statuses()
        queued: Counter[str] = Counter()
        in_doubt = 0
        for status in statuses:
            for owner, counts in status.law.items():
                name, _, stream = owner.partition("\0")
                if name == tenant:
                    queued[stream] += counts.get("queued", 0)
                    in_doubt += counts.get("in_doubt", 0)
        swept = self._swept(tenant, statuses)
        marks = [_view(mark, swept) for mark in self._marks(tenant).marks]
        lines = [self._estimated(totals[place]) for place in sorted(totals)]
        return QueueList(lines, marks, dict(sorted(queued.items())), in_doubt)

    def _estimated(self, line: QueueLine) -> QueueLine:
        wait = self.estimate(line) if line.state == "ready" else None
        return msgspec.structs.replace(line, wait=wait, samples=[])

    async def show(self, tenant: str, command: QueueCommand, rows_max: int) -> QueueStory:
        """Tell what a selection meets."""
        selection = self._selection(command)
        question = QueueQuestion(tenant, selection, rows_max)
        answers = await self._backend.ask_all(lambda worker: partial(worker.selected, question))
        states: Counter[str] = Counter()
        domains: Counter[str] = Counter()
        for answer in answers:
            states.update(answer.states)
            domains.update(answer.domains)
        oldest = sorted(
            (one for answer in answers for one in answer.oldest), key=lambda s: s.due_ms
        )
        return QueueStory(
            selection,
            dict(sorted(states.items())),
            dict(domains.most_common(50)),
            oldest[:20],
            sum(answer.rows for answer in answers),
            partial=any(answer.partial for answer in answers),
        )

    async def act(
        self, tenant: str, action: QueueAction, command: QueueCommand, actor: str
    ) -> QueueDone:
        """Put a mark in force, or lift some."""
        selection = self._selection(command)
        if not (command.everything or command.mark or selection != Selection()):
            raise InputError(
                "which messages is missing", mend="select some, or say that everything is meant"
            )
        if (action == "reroute") != bool(command.to_pool):
            raise InputError("`to_pool` goes with reroute, and reroute needs it")
        async with self._changing:
            before = self._marks(tenant)
            kept = await self._unswept(tenant, before)
            if action == "resume":
                lifted = _lifted(kept, selection, command.mark)
                # numbers are used up by lifting, too: so that the sweep walks and lets go what was suspended
                after = Marks(
                    before.newest + 1, tuple(one for one in kept if one.number not in lifted)
                )
                done = QueueDone(tenant, action, selection, lifted=lifted)
            else:
                if len(kept) >= MARKS_MAX:
                    raise InputError(f"{MARKS_MAX} marks are in force", mend="resume some first")
                number = before.newest + 1
                mark = Mark(
                    number, action, selection, command.to_pool, command.reason, _now(), actor
                )
                after = Marks(number, (*kept, mark))
                done = QueueDone(tenant, action, selection, number)
            await self._publish(tenant, action, selection, command, actor, before, after)
            return done

    async def doubts(self, tenant: str, limit: int) -> DoubtList:
        """List messages held in doubt."""
        answers = await self._backend.ask_all(lambda worker: partial(worker.doubts, tenant, limit))
        items = sorted(
            (one for answer in answers for one in answer.items), key=lambda d: d.accepted_ms
        )
        more = len(items) > limit or any(answer.more for answer in answers)
        return DoubtList(items[:limit], more)

    async def settle(
        self, tenant: str, message_id: bytes, resend: bool, actor: str, reason: str
    ) -> Settled | None:
        """Give an operator's word on a message in doubt: first on record, then done."""
        view = await self._backend.message(tenant, message_id)
        if view is None:
            return None
        name = message_id.hex()
        if view.state != "in_doubt":
            return Settled(name, done=False, state=view.state)
        word = "resend" if resend else "delivered"
        change = Change(
            actor=actor,
            action=f"doubt_{word}",
            subject=f"message {name}",
            tenant=tenant,
            reason=reason,
        )
        self._log().append(_now(), change)
        key = message_key(tenant, message_id)
        # the attempt is part of the id: the same word on a later doubt of the message is another word
        input_id = f"settle\x1f{word}\x1f{view.attempts}".encode()
        await self._backend.give(key, WireArrival(key, Settle(resend), input_id))
        settled = await self._backend.message(tenant, message_id)
        state = settled.state if settled is not None else "gone"
        return Settled(name, done=state != "in_doubt", state=state)

    # ---- inside

    def _selection(self, command: QueueCommand) -> Selection:
        domains = [domain.lower() for domain in command.domain]
        if command.site:
            domains += self._domains_of_site(command.site.lower())
        return Selection(
            command.campaign, command.stream, tuple(sorted(set(domains))), command.pool
        )

    def _marks(self, tenant: str) -> Marks:
        files = CatalogFiles(self._data / "catalog")
        for item in files.head().items:
            if (item.section, item.tenant, item.name) == (SECTION, tenant, MARKS):
                return _MARKS.decode(files.objects.get(item.digest))
        return Marks()

    def _swept(self, tenant: str, statuses: Sequence[WorkerStatus]) -> int:
        """Give the newest mark that every message has looked at; 0 while a partition or its owner is away."""
        if sum(status.partitions for status in statuses) < self._config.store.partitions:
            return 0
        return min((status.swept.get(tenant, 0) for status in statuses), default=0)

    async def _unswept(self, tenant: str, marks: Marks) -> tuple[Mark, ...]:
        """Leave out what has had its effect: marks that end or reroute, once every worker has swept them."""
        swept = self._swept(tenant, await self._backend.statuses())
        return tuple(
            mark
            for mark in marks.marks
            if mark.number > swept or mark.action not in (*ENDS, "reroute")
        )

    async def _publish(
        self,
        tenant: str,
        action: str,
        selection: Selection,
        command: QueueCommand,
        actor: str,
        before: Marks,
        after: Marks,
    ) -> None:
        written = msgspec.json.encode(after)
        change = Change(
            actor=actor,
            action=f"queue_{action}",
            subject=f"queue {selection.words()}"
            + (f" to {command.to_pool}" if command.to_pool else ""),
            tenant=tenant,
            reason=command.reason,
            before=digest_of(msgspec.json.encode(before)),
            after=digest_of(written),
        )
        self._log().append(_now(), change)
        head = CatalogFiles(self._data / "catalog").publish([(SECTION, tenant, MARKS, written)])
        await self._backend.published(head.version)

    def _log(self) -> ControlFile:
        return ControlFile(self._data / "control.log")


def _lifted(marks: tuple[Mark, ...], selection: Selection, number: int) -> list[int]:
    """Find the marks that a resume lifts. Raises: InputError: there are none."""
    standing = [mark for mark in marks if mark.action in ("suspend", "drain")]
    found = [
        mark.number
        for mark in standing
        if (mark.number == number if number else mark.selection == selection)
    ]
    if not found and not number and selection == Selection():  # everything
        found = [mark.number for mark in standing]
    if not found:
        told = "; ".join(
            f"{mark.number}: {mark.action} {mark.selection.words()}" for mark in standing
        )
        raise InputError("no such suspension is in force", mend=f"in force: {told or 'none'}")
    return found


def _view(mark: Mark, swept: int) -> MarkView:
    return MarkView(
        mark.number,
        mark.action,
        mark.selection,
        mark.at,
        mark.actor,
        mark.reason,
        mark.to_pool,
        swept=mark.number <= swept,
    )


def _added(one: QueueLine, other: QueueLine) -> QueueLine:
    oldest = [line.oldest_ms for line in (one, other) if line.oldest_ms is not None]
    return msgspec.structs.replace(
        one,
        messages=one.messages + other.messages,
        more=one.more or other.more,
        oldest_ms=min(oldest, default=None),
        samples=[*one.samples, *other.samples],
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
