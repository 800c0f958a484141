"""Looks after the sender's name in a running instance, once a second.

What automation did goes on record and is carried out, findings that ask for it (`[measures]`) and mail that comes back
as sent too fast slow a source down at a provider, complaints reach the warm-ups, and everything is told as health.

Everything it does is a record in the control log. What it has to undo later stands in `guards.json` in the data
directory, so that a restart forgets no suspension.
"""

from __future__ import annotations

__all__ = ("HealthDesk",)

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from actors.cluster.calls import WorkerLostError
from actors.cluster.running import Cluster
from actors.feedback.loop import acted_streams
from actors.feedback.watching import Watcher
from actors.health_forms import (
    aligned_at,
    flow_words,
    iso_day,
    limited,
    stream_line,
    tls_at,
    wait_of,
)
from actors.health_views import HealthLine, HealthView, Imported, StreamLine, WaitView
from actors.pacing_desk import Complaints, PacingQuestion, Press
from actors.pacing_rules import is_paced
from actors.pacing_views import PacingView
from actors.queues import QueueAction, QueueCommand, QueueLine, Queues
from deliverability.feedback.postmaster import ProviderWord, read_export
from deliverability.feedback.taxonomy import THROTTLES
from deliverability.pacing.acting import Acted
from deliverability.pacing.health import SLOW_BELOW, Signals, judge
from deliverability.pacing.telling_forms import LaneView
from engine.config import Config
from engine.control_log import Change
from engine.errors import CapacityError, VeredusError
from engine.store.catalog_files import write_durably
from engine.store.control_file import ControlFile

log = structlog.get_logger()

LOOK_S = 1.0
JUDGED_MS = 30_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ACTOR = "automation"
RETURNED_MIN = 3
"""So many mails that come back as sent too fast within an hour are no chance."""
WORDS_KEPT = 20_000
WORD_DAYS = 7
"""What a provider said so long ago says nothing about today."""


class _Guard(msgspec.Struct, frozen=True):
    """What was suspended by itself: the marks, whose they are, and when they are lifted (ms)."""

    name: str
    tenant: str
    marks: list[int]
    domains: list[str]
    until_ms: int


class _Kept(msgspec.Struct, frozen=True):
    known: int = 0
    guards: list[_Guard] = []
    words: list[ProviderWord] = []


class HealthDesk:
    """See the module.

    Args:
        config: of the deployment.
        cluster: whose pacer is asked.
        queues: where tenants and streams are suspended.
        watcher: counts what became of mail.
        now: wall time, ms.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        queues: Queues,
        watcher: Watcher,
        now: Callable[[], int],
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._queues = queues
        self._watcher = watcher
        self._now = now
        data = Path(config.data_dir)
        self._path = data / "guards.json"
        self._control_log = data / "control.log"
        kept = self._read()
        self._known = kept.known
        self._guards = {one.name: one for one in kept.guards}
        self._words = kept.words
        self._pacing = PacingView(on=False)
        self._judged_ms = 0
        self._presses: list[Press] = []
        self._acted = acted_streams(config)

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            try:
                await self.step()
            except WorkerLostError as error:
                log.info("pacer_not_reached", error=str(error))
            except VeredusError as error:
                log.warning("health_not_followed", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def step(self) -> None:
        """Take over what the pacer did, tell it what feedback says, slow down where it asks for that."""
        now = self._now()
        if is_paced(self._config):
            complaints = [
                Complaints(self._source_at(address), provider, number)
                for (address, provider), number in self._watcher.take_complaints().items()
            ]
            presses, self._presses = self._presses, []
            question = PacingQuestion(self._known, complaints, presses)
            view = self._pacing = await self._cluster.pacing(question)
            first = view.newest - len(view.acts)
            for number, act in enumerate(view.acts, first + 1):
                if number > self._known:
                    await self._carry_out(act)
                    self._known = number
                    self._keep()
        if now - self._judged_ms >= JUDGED_MS:
            self._judged_ms = now
            self._slow_down(now)
            self._press_the_sick(now)
        await self._lift(now)

    # ---- automation

    async def _carry_out(self, act: Acted) -> None:
        """Put an action on record, and do what concerns a tenant, a campaign or messages that wait."""
        reason = f"{act.matches} replies match {act.pattern!r} ({act.rule})"
        change = Change(
            actor=ACTOR,
            action=f"automation_{act.kind}",
            subject=f"{act.source or 'default'} to {act.site}: {act.action}",
            tenant=act.tenant if "Tenant" in act.kind or "Campaign" in act.kind else "",
            reason=f"{reason}, until {act.until_ms}"[:500],
        )
        ControlFile(self._control_log).append(self._now(), change)
        action: QueueAction = "bounce" if act.kind.startswith("Bounce") else "suspend"
        match act.kind:
            case "SuspendTenant" | "BounceTenant":
                await self._mark(act, action, [act.tenant], reason)
            case "SuspendCampaign" | "BounceCampaign":
                await self._mark(act, action, [act.tenant], reason, campaign=act.campaign)
            case "Bounce":
                await self._mark(act, action, [t.name for t in self._config.tenant], reason)
            case _:
                pass  # the pacer has done it: a setting, or the suspension of the path

    async def _mark(
        self,
        act: Acted,
        action: QueueAction,
        tenants: Iterable[str],
        reason: str,
        campaign: str = "",
    ) -> None:
        for tenant in filter(None, tenants):
            name = f"automation {tenant} {act.domain} {campaign} {act.rule}"
            if name in self._guards:  # it fired again while it holds
                until = max(self._guards[name].until_ms, act.until_ms)
                self._guards[name] = msgspec.structs.replace(self._guards[name], until_ms=until)
                self._keep()
                continue
            command = QueueCommand(domain=[act.domain], campaign=campaign, reason=reason[:200])
            done = await self._queues.act(tenant, action, command, ACTOR)
            if action == "suspend":
                self._guards[name] = _Guard(name, tenant, [done.number], [act.domain], act.until_ms)
                self._keep()

    # ---- slowing down

    def _slow_down(self, now: int) -> None:
        """Press on where findings ask for a slower pace (`[measures]`), or mail comes back as sent too fast."""
        if not is_paced(self._config):
            return
        found = [
            one
            for one in self._watcher.findings()
            if one.do == "slow" and (one.tenant, one.stream) in self._acted
        ]
        slowed = {(one.source, one.provider) for one in found if one.provider}
        for one in found:
            if one.provider:
                self._press(f"slow {one.id}", one.tenant, one.provider, one.source, one.says, now)
                continue
            for source, provider in self._ways_of(one.tenant, one.stream, now):
                if (source, provider) not in slowed:
                    name = f"slow {one.id} {source} {provider}"
                    self._press(name, one.tenant, provider, source, one.says, now)
        for (source, provider), number in self._throttled(now).items():
            says = f"{number} mails of an hour came back from {provider} as sent too fast"
            self._press(f"slow returned {source} {provider}", "", provider, source, says, now)

    def _ways_of(self, tenant: str, stream: str, now: int) -> list[tuple[str, str]]:
        """List where a stream's mail went today: source and provider."""
        lanes = [one.lane for one in self._watcher.rates.all("day", now)]
        own = [lane for lane in lanes if (lane.tenant, lane.stream) == (tenant, stream)]
        return sorted({(lane.source, lane.provider) for lane in own})

    def _throttled(self, now: int) -> dict[tuple[str, str], int]:
        """Count what came back within an hour, after it was accepted, as too much: by source and provider."""
        found: Counter[tuple[str, str]] = Counter()
        for one in self._watcher.rates.all("hour", now):
            number = sum(one.causes.get(f"returned {cause}", 0) for cause in THROTTLES)
            if number:
                found[one.lane.source, one.lane.provider] += number
        return {lane: number for lane, number in found.items() if number >= RETURNED_MIN}

    def _press(
        self, name: str, tenant: str, provider: str, address: str, says: str, now: int
    ) -> None:
        """Halve the pace of a source at a provider for an hour, and for longer while it is found; on record once."""
        known = self._guards.get(name)
        if known is not None and known.until_ms - now > HOUR_MS // 2:
            return
        until = now + HOUR_MS
        source = self._source_at(address)
        self._presses.append(Press(provider, until, says, source))
        if known is None:
            change = Change(
                actor=ACTOR,
                action="measure_slow",
                subject=f"{source or 'default'} to {provider}: half the pace while it lasts",
                tenant=tenant,
                reason=says[:500],
            )
            ControlFile(self._control_log).append(now, change)
            log.warning("measure_slow", source=source, provider=provider, reason=says)
        self._guards[name] = _Guard(name, tenant, [], [], until)
        self._keep()

    async def _lift(self, now: int) -> None:
        """Lift what has had its time; a mark that somebody lifted by hand is gone already."""
        for guard in [one for one in self._guards.values() if one.until_ms <= now]:
            marks = (await self._queues.list(guard.tenant)).marks if guard.marks else ()
            standing = {one.number for one in marks}
            for number in [one for one in guard.marks if one in standing]:
                command = QueueCommand(mark=number, reason="its time is over")
                await self._queues.act(guard.tenant, "resume", command, ACTOR)
            del self._guards[guard.name]
            self._keep()

    def _press_the_sick(self, now: int) -> None:
        """Slow down where the whole of the signals says that a source's name suffers."""
        for line in self.view().lines:
            if line.lane is not None and line.score < SLOW_BELOW and not line.lane.pressed_until:
                why = f"health {line.score}: {line.reasons[0].says}"
                press = Press(line.lane.feedback_name, now + HOUR_MS, why, line.source)
                self._presses.append(press)

    # ---- telling

    async def told(self, *, curves: bool = False) -> HealthView:
        """Tell how everything is doing, asking the pacer anew; with the curves of a day and a month.

        Raises: CapacityError: the pacer is restarting.
        """
        if is_paced(self._config):
            try:
                self._pacing = await self._cluster.pacing(PacingQuestion(self._known, curves=True))
            except WorkerLostError as error:
                raise CapacityError("the controller is restarting", 1.0) from error
        view = self.view()
        return self._with_curves(view) if curves else view

    def _with_curves(self, view: HealthView) -> HealthView:
        """Add what feedback counted over time; a lane of the pacer is known to it by its provider's feedback name."""
        now = self._now()
        found = [
            {
                (self._source_at(address), provider): points
                for (address, provider), points in self._watcher.rates.curves(window, now).items()
            }
            for window in ("day", "month")
        ]
        lines = []
        for one in view.lines:
            place = (one.source, one.lane.feedback_name if one.lane is not None else one.provider)
            day, month = (curves.get(place, []) for curves in found)
            lines.append(msgspec.structs.replace(one, day=day, month=month))
        return msgspec.structs.replace(view, lines=lines)

    def view(self) -> HealthView:
        """Tell how everything is doing, as far as it is known here."""
        now = self._now()
        streams: dict[tuple[str, str], list[StreamLine]] = {}
        for one in self._watcher.rates.all("day", now):
            line = stream_line(one, self._source_at(one.lane.source))
            streams.setdefault((line.source, line.provider), []).append(line)
        lines = []
        for lane in self._pacing.lanes:
            own = streams.pop((lane.source, lane.feedback_name), [])
            lines.append(self._line(lane.source, lane.provider, lane, own, now))
        for (source, provider), own in sorted(streams.items()):
            lines.append(self._line(source, provider, None, own, now))
        lines.sort(key=lambda one: (one.score, one.provider, one.source))
        found = [limited(one.lane, now) for one in lines]
        found += [flow_words(one) for one in self._pacing.flows if one.held]
        return HealthView(is_paced(self._config), now, lines, list(filter(None, found)))

    def waits(self, line: QueueLine) -> WaitView | None:
        """Estimate when the last message of a queue will go; None: nothing is known of its lane."""
        lanes = [
            lane
            for lane in self._pacing.lanes
            if any(path.domain == line.domain or path.site == line.domain for path in lane.paths)
        ]
        return wait_of(line.messages, lanes, self._now(), line.samples) if lanes else None

    def take(self, text: str, file: str) -> Imported:
        """Take over an export of Postmaster Tools or SNDS. Raises: InputError: a mistake in it."""
        words = read_export(text, file)
        known = {(one.provider, one.of, one.day): one for one in (*self._words, *words)}
        newest = sorted(known.values(), key=lambda one: (one.day, one.of))
        self._words = newest[-WORDS_KEPT:]
        self._keep()
        return Imported(len(words))

    def _line(
        self, source: str, provider: str, lane: LaneView | None, streams: list[StreamLine], now: int
    ) -> HealthLine:
        verdict = judge(self._signals(source, provider, lane, streams, now))
        return HealthLine(source, provider, verdict.score, list(verdict.reasons), lane, streams)

    def _signals(
        self, source: str, provider: str, lane: LaneView | None, streams: list[StreamLine], now: int
    ) -> Signals:
        name = lane.feedback_name if lane is not None else provider
        delivered = sum(one.delivered for one in streams)
        bounced = sum(one.bounced for one in streams)
        suspended = [p for p in lane.paths if p.suspended_until] if lane is not None else []
        words = self._words_of(source, name, now)
        address = {one.name: one.address for one in self._config.source}.get(source, "")
        aligned, unaligned = aligned_at(self._watcher.book, name, address, now)
        sessions, failures = tls_at(self._watcher.book, name, now)
        rates = [one.spam_rate for one in words if one.spam_rate is not None]
        return Signals(
            delivered=max(delivered, lane.day.delivered if lane is not None else 0),
            deferred=lane.day.deferred if lane is not None else sum(s.deferred for s in streams),
            bounced=max(bounced, lane.day.bounced if lane is not None else 0),
            blocked=lane.day.blocked if lane is not None else 0,
            complained=sum(one.complained for one in streams),
            is_stopped=lane is not None and lane.phase in ("paused", "recovering"),
            stopped_why=lane.reason if lane is not None else "",
            suspended="; ".join(hold for path in suspended for hold in path.holds)[:200],
            aligned=aligned,
            unaligned=unaligned,
            tls_sessions=sessions,
            tls_failures=failures,
            postmaster=next((one.reputation for one in words if one.reputation), ""),
            spam_rate=rates[0] if rates else None,
            snds=next((one.colour for one in words if one.colour), ""),
            trap_hits=max((one.trap_hits for one in words), default=0),
        )

    def _source_at(self, address: str) -> str:
        """Name the source that has an address, as feedback counts it; the address itself where none has."""
        return next((one.name for one in self._config.source if one.address == address), address)

    def _words_of(self, source: str, provider: str, now: int) -> list[ProviderWord]:
        """What a provider itself said of us lately, the newest first."""
        address = {one.name: one.address for one in self._config.source}.get(source, "")
        domains = {domain for tenant in self._config.tenant for domain in tenant.from_domains}
        ours = {f"address {address}", *(f"domain {domain}" for domain in domains)}
        since = iso_day(now - WORD_DAYS * DAY_MS)
        found = [
            one
            for one in self._words
            if one.provider == provider and one.of in ours and one.day >= since
        ]
        return sorted(found, key=lambda one: one.day, reverse=True)

    # ---- on disk

    def _keep(self) -> None:
        kept = _Kept(self._known, list(self._guards.values()), self._words)
        write_durably(self._path, msgspec.json.encode(kept))

    def _read(self) -> _Kept:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return _Kept()
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("guards_forgotten", path=str(self._path), error=str(error))
            self._path.replace(self._path.with_suffix(".unreadable"))
            return _Kept()
