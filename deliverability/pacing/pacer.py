"""The pacer: gives each sender messages to start, by path, from what all of them heard. Pure; time is an argument.

One pacer serves all senders of an instance (in a replay each worker has one of its own). Over each path stand, in this
order: a suspension by automation, the exact limits of rules, warm-up, and the lane (`lane.Lane`), which finds out what
the provider takes. Loans let urgent mail go beyond the lane's pace, never beyond the limits, and never while the lane
is stopped; the lane is told and pays for them.

What crosses between sender and pacer is in `exchange`, with what makes loss and repetition harmless.
"""

from __future__ import annotations

__all__ = ("KeptPacing", "Pacer", "PacerOptions")

from collections.abc import Sequence

import msgspec

from deliverability.feedback.providers import provider_of
from deliverability.feedback.taxonomy import BLOCKS
from deliverability.leasing.book import water_level
from deliverability.pacing.acting import Acted, Acting
from deliverability.pacing.exchange import (
    AHEAD_MS,
    Given,
    Heard,
    PaceAnswer,
    PaceAsk,
    Path,
    Want,
    path_name,
)
from deliverability.pacing.flows import FlowBook, FlowLimit
from deliverability.pacing.lane import Lane, LaneMemory, LaneOptions, Phase
from deliverability.pacing.limits import Demand, LimitBook
from deliverability.pacing.path_limits import PathLimits
from deliverability.pacing.signals import Cause, cause_of_outcome
from deliverability.pacing.tracking import EtaWatch, LaneCounts
from deliverability.pacing.warming import KeptWarmup, Warming, WarmupPlan, plan_of
from deliverability.shaping.automation import Fired
from deliverability.shaping.rules import RuleSet

FRESH_MS = 2_000
"""A question that is older says nothing about what its sender needs now."""
LOANS = 2
TURN_MS = 10_000
LEARNING_EVERY_MS = 60_000
"""While a greylist is being found out, fresh mail and retries together go so often."""
IDLE_PATH_MS = 24 * 3_600_000
ASK_AGAIN_MS = 200
"""Nobody is told to ask again sooner."""
_NEVER_MS = 60_000  # ask again then, whatever the reason


class PacerOptions(msgspec.Struct, frozen=True):
    """What pacing begins with. `share`: this many pacers share each limit and each day of a warm-up."""

    first_per_hour: float = 600.0
    max_per_hour: float = 360_000.0
    connections_max: int = 20
    messages_per_connection: int = 500
    warmups: tuple[WarmupPlan, ...] = ()
    share: int = 1
    flows: tuple[FlowLimit, ...] = ()


class KeptPacing(msgspec.Struct, frozen=True):
    """What outlives a pacer: what lanes found out, where warm-ups are, what automation holds."""

    lanes: dict[str, LaneMemory] = {}
    warmups: dict[str, KeptWarmup] = {}
    firings: list[Fired] = []


class _Life:
    """What is known of a sender."""

    def __init__(self, incarnation: int, heard: int) -> None:
        self.incarnation = incarnation
        self.number = 0
        self.heard = heard
        self.trips: dict[str, int] = {}  # of a path's lane, when it was last answered


class LaneState:
    """One source at one provider, with all that is known of it."""

    def __init__(self, source: str, provider: str, lane: Lane, now_ms: int) -> None:
        self.source = source
        self.provider = provider
        self.lane = lane
        self.counts = LaneCounts()
        self.eta = EtaWatch(now_ms)
        self.warming: Warming | None = None
        self.domain = ""  # one of those that it serves
        self.gave_ms = 0  # when a token was last given
        self.wanted_ms = 0  # when somebody last had more to send than it got
        self.size = 0.0  # of a message, the mean of late
        self.held_by = ""  # the exact limit that last kept a message waiting, and when
        self.held_ms = 0
        self.pressed_until = 0  # at half its pace until then
        self.pressed_why = ""

    @property
    def feedback_name(self) -> str:
        """The name of its provider on the feedback side, which knows domains alone."""
        return provider_of(self.domain)

    @property
    def name(self) -> str:
        """The lane's name: source and provider."""
        return f"{self.source} {self.provider}"

    def is_stopped(self) -> bool:
        """Tell whether the provider has said stop."""
        return self.lane.phase in (Phase.PAUSED, Phase.RECOVERING)


class PathState:
    """One source and site."""

    def __init__(self, path: Path, limits: PathLimits, lane: LaneState) -> None:
        self.path = path
        self.limits = limits
        self.lane = lane
        self.needs: dict[str, tuple[int, Want]] = {}  # by holder: when it asked, for what
        self.asked_ms = 0

    def fresh(self, now_ms: int) -> dict[str, Want]:
        """Give the needs of those who asked lately."""
        return {name: want for name, (at, want) in self.needs.items() if now_ms - at <= FRESH_MS}


class Pacer:
    """See the module.

    Args:
        rules: all files.
        options: what it begins with.
        now_ms: when this life begins.
        kept: what a former life wrote down.
    """

    def __init__(
        self, rules: RuleSet, options: PacerOptions, now_ms: int, kept: KeptPacing | None = None
    ) -> None:
        self._rules = rules
        self._options = options
        self._kept = kept or KeptPacing()
        self._now_ms = now_ms
        self._book = LimitBook(full=kept is None)
        self.flows = FlowBook(options.flows, full=kept is None, share=options.share)
        """Limits of tenants and streams."""
        self._lives: dict[str, _Life] = {}
        self._warmed: dict[str, Warming] = {}
        self.lanes: dict[str, LaneState] = {}
        """By name."""
        self.paths: dict[str, PathState] = {}
        """By name."""
        self.acting = Acting(self._kept.firings, now_ms)
        """What automation did and does."""

    # ---- senders

    def ask(self, ask: PaceAsk, now_ms: int) -> PaceAnswer | None:
        """Answer a question; None for one that is older than another of the same sender."""
        now = self._now_ms = max(self._now_ms, now_ms)
        life = self._life(ask)
        if life is None:
            return None
        life.number = ask.number
        for want in ask.wants:
            self._account(ask.holder, want, now)
        fresh = max(life.heard - ask.first, 0)
        for heard in ask.heard[fresh:]:
            self._hear(heard, now)
        life.heard = max(life.heard, ask.first + len(ask.heard))
        given = {
            path_name(want.path): self._give(ask.holder, life, want, now) for want in ask.wants
        }
        flows = self.flows.answer(ask.flows, now)
        return PaceAnswer(ask.number, ask.incarnation, given, life.heard, flows)

    def _life(self, ask: PaceAsk) -> _Life | None:
        life = self._lives.get(ask.holder)
        if life is None or ask.incarnation > life.incarnation:
            # what came before the first question was heard by a former pacer, or is lost
            life = self._lives[ask.holder] = _Life(ask.incarnation, ask.first)
        if ask.incarnation < life.incarnation or ask.number <= life.number:
            return None
        return life

    def _account(self, holder: str, want: Want, now: int) -> None:
        """Take down what a sender needs and did."""
        state = self._path(want.path, now)
        state.needs[holder] = (now, want)
        state.asked_ms = now
        lane = state.lane
        demand = self._demand(lane)
        if want.unused:
            lane.lane.unsent(want.unused)
        for _ in range(want.unused + want.lapsed):
            self._book.give_back(state.limits.scopes, demand)
        for _ in range(want.borrowed):
            lane.lane.sent(now)
        if lane.warming is not None:
            lane.warming.took(-want.unused - want.lapsed)
        if want.opened:
            self._book.take(state.limits.scopes, Demand(0, 0, 0, want.opened), now)
        lane.lane.connected(self._open(lane, now))
        if want.tokens > 0:
            lane.wanted_ms = now

    # ---- giving

    def _give(self, holder: str, life: _Life, want: Want, now: int) -> Given:
        state = self.paths[path_name(want.path)]
        lane = state.lane
        until = self.acting.settle(state, now)
        void = life.trips.get(path_name(want.path), lane.lane.trips) != lane.lane.trips
        life.trips[path_name(want.path)] = lane.lane.trips
        if until > now:
            return Given(wait_ms=min(until - now, _NEVER_MS), void=True)
        connections = self._connections(holder, state, now)
        tokens, wait_ms = 0, ASK_AGAIN_MS
        if connections <= 0:
            wait_ms = max(self._lane_wait(lane, now), ASK_AGAIN_MS)
        elif want.tokens > 0:
            tokens, wait_ms = self._tokens(holder, state, want, now)
        loans = 0
        has = 0 if void else want.loans
        if connections > 0 and not lane.is_stopped():
            loans = self._loans(state, LOANS - has, now)
        self._watch(lane, wait_ms, now)
        per_connection = lane.lane.messages_per_connection()
        ruled = state.limits.messages_per_connection()
        return Given(
            tokens=tokens,
            wait_ms=wait_ms,
            connections=connections,
            per_connection=min(per_connection, ruled) if ruled else per_connection,
            loans=loans,
            void=void,
            retry_ms=lane.lane.greylist.learned_delay_ms(),
        )

    def _tokens(self, holder: str, state: PathState, want: Want, now: int) -> tuple[int, int]:
        """Give messages for the moment ahead. Returns how many, and when it is worth asking again."""
        lane, most = state.lane, self._part(holder, state, want, now)
        demand = self._demand(lane)
        given = 0
        while given < most:
            wait = self._lane_wait(lane, now)
            if wait > AHEAD_MS:
                return given, max(wait - AHEAD_MS, ASK_AGAIN_MS)
            if lane.warming is not None and lane.warming.room(now) <= 0:
                return given, min(lane.warming.until_tomorrow_ms(now), _NEVER_MS)
            verdict = self._book.take(state.limits.scopes, demand, now)
            if verdict.wait_ms:
                what = verdict.dimension.value if verdict.dimension is not None else ""
                lane.held_by, lane.held_ms = f"{what} of {verdict.scope}", now
                return given, min(max(verdict.wait_ms, ASK_AGAIN_MS), _NEVER_MS)
            lane.lane.sent(now, slots=2 if lane.pressed_until > now else 1)
            lane.gave_ms = now
            if lane.warming is not None:
                lane.warming.took(1)
            given += 1
        return given, ASK_AGAIN_MS

    def _lane_wait(self, lane: LaneState, now: int) -> int:
        wait = lane.lane.wait_ms(now, fresh=False)
        if lane.lane.greylist.holds_fresh(now):
            wait = max(wait, lane.gave_ms + LEARNING_EVERY_MS - now)
        return wait

    def _part(self, holder: str, state: PathState, want: Want, now: int) -> int:
        """Return how much of the moment ahead a sender may have, so that the first to ask doesn't take it all."""
        others = sum(other.tokens for name, other in state.fresh(now).items() if name != holder)
        if not others:
            return want.tokens
        ahead = self.per_hour(state.lane) * AHEAD_MS / 3_600_000
        part = ahead * want.tokens / (want.tokens + others)
        return min(want.tokens, max(int(part) + 1, 1))

    def _loans(self, state: PathState, wanted: int, now: int) -> int:
        given = 0
        warming = state.lane.warming
        while given < wanted:
            if warming is not None and warming.room(now) <= 0:
                break
            if self._book.take(state.limits.scopes, self._demand(state.lane), now).wait_ms:
                break
            if warming is not None:
                warming.took(1)
            given += 1
        return given

    def _connections(self, holder: str, state: PathState, now: int) -> int:
        """Return a sender's part of the connections: of the lane's over its paths, and of the site's."""
        lane = state.lane
        places = [
            (path, name, want.connections)
            for path, one in self.paths.items()
            if one.lane is lane
            for name, want in one.fresh(now).items()
        ]
        mine = next(
            at
            for at, (path, name, _) in enumerate(places)
            if name == holder and self.paths[path] is state
        )
        needs = [need for _, _, need in places]
        most = lane.lane.connection_target(now)
        if not lane.is_stopped():  # a sender without a connection would wait for its turn
            wanting = sum(need > 0 for need in needs)
            most = max(most, min(wanting, lane.lane.connections.ceiling()))
        ruled = state.limits.provider_connections()
        most = most if ruled is None else min(most, ruled)
        turn = now // TURN_MS
        part = water_level(needs, most, turn)[mine]
        of_site = state.limits.connections()
        if of_site is None:
            return part
        here = [(name, want.connections) for name, want in state.fresh(now).items()]
        at = [name for name, _ in here].index(holder)
        return min(part, water_level([need for _, need in here], of_site, turn)[at])

    def _demand(self, lane: LaneState) -> Demand:
        return Demand(messages=1, size_bytes=int(lane.size), recipients=1)

    def _open(self, lane: LaneState, now: int) -> int:
        return sum(
            want.open
            for one in self.paths.values()
            if one.lane is lane
            for want in one.fresh(now).values()
        )

    def _watch(self, lane: LaneState, wait_ms: int, now: int) -> None:
        rate = self.per_hour(lane)
        lane.counts.paced(rate, now)
        if now - lane.wanted_ms > FRESH_MS:
            lane.eta.idle()
        elif lane.wanted_ms:
            pace = lane.counts.recent_per_hour(now) or rate
            lane.eta.look(lane.counts, pace, wait_ms if lane.is_stopped() else 0, now)

    # ---- hearing

    def _hear(self, heard: Heard, now: int) -> None:
        state = self.paths.get(heard.path)
        if state is None:
            return  # a former pacer knew it; nobody sends there now
        lane, cause = state.lane, cause_of_outcome(heard.code, heard.text, heard.cause)
        blocked = heard.cause in BLOCKS
        lane.counts.note(heard.kind, heard.cause, heard.number, now, blocked=blocked)
        if heard.kind == "refused":
            opened = self._open(lane, now)
            lane.lane.connection_refused(cause, now, max(opened, 0))
        elif heard.code == 0:
            lane.lane.unanswered()
        else:
            for _ in range(heard.number):
                lane.lane.answered(
                    cause,
                    now,
                    latency_ms=heard.latency_ms,
                    age_ms=heard.age_ms,
                    on_connection=heard.on_connection,
                )
        if heard.kind == "delivered" and heard.size:
            mean = heard.size / heard.number
            lane.size += (mean - lane.size) * 0.1 if lane.size else mean
        if lane.warming is not None:
            lane.warming.heard(
                deferred=heard.number * (heard.kind == "deferred" and cause is not Cause.GREYLIST),
                blocked=heard.number * (blocked and heard.kind == "bounced"),
                stopped=cause is Cause.STOP,
            )
        lane.eta.ended(lane.counts, now)
        if heard.kind != "delivered" and heard.code:
            self.acting.heard(state, heard, now)

    def complained(self, source: str, domain_provider: str, number: int, now_ms: int) -> None:
        """Hear of complaints about a source's mail at a provider, as the feedback side names it."""
        self._now_ms = max(self._now_ms, now_ms)
        for lane in self.lanes.values():
            here = domain_provider in (lane.provider, lane.feedback_name)
            if lane.source == source and here and lane.warming is not None:
                lane.warming.complained(number)

    def press(
        self, domain_provider: str, until_ms: int, why: str, now_ms: int, source: str | None = None
    ) -> None:
        """Halve the pace at a provider, as the feedback side names it, until then: its recipients have had enough.

        `source`: of this one alone; None: of all. What presses for longer already stays.
        """
        self._now_ms = max(self._now_ms, now_ms)
        for lane in self.lanes.values():
            here = domain_provider in (lane.provider, lane.feedback_name)
            if here and source in (None, lane.source) and until_ms > lane.pressed_until:
                lane.pressed_until, lane.pressed_why = until_ms, why

    # ---- what outlives it

    @property
    def must_keep(self) -> bool:
        """Whether `kept` must be durable before another question is answered: a warm-up counts ahead."""
        return self.acting.changed or any(one.changed for one in self._warmed.values())

    def kept(self) -> KeptPacing:
        """Return what is to be written down now."""
        now = self._now_ms
        for one in self._warmed.values():
            one.changed = False
        self.acting.changed = False
        lanes = {name: one.lane.memory(now) for name, one in self.lanes.items()}
        old = {
            name: memory
            for name, memory in self._kept.lanes.items()
            if name not in lanes and now - memory.noted_ms <= Lane.MEMORY_MS
        }
        warmups = {**self._kept.warmups, **{n: one.kept() for n, one in self._warmed.items()}}
        return KeptPacing({**old, **lanes}, warmups, self.acting.firings(now))

    def take_acted(self) -> Sequence[Acted]:
        """Take what automation did since the last call, to be put on record and, in part, to be done elsewhere."""
        return self.acting.take()

    @property
    def now_ms(self) -> int:
        """The newest time that it was told."""
        return self._now_ms

    def per_hour(self, lane: LaneState) -> float:
        """Return the rate of a lane now."""
        return lane.lane.report(self._now_ms).per_hour

    @property
    def book(self) -> LimitBook:
        """The exact limits."""
        return self._book

    # ---- inside

    def _path(self, path: Path, now: int) -> PathState:
        name = path_name(path)
        found = self.paths.get(name)
        if found is not None and found.path == path:
            return found
        if found is None:
            self._forget(now)
        limits = PathLimits(self._book, self._rules, path, self._options.share)
        made = PathState(path, limits, self._lane(path, limits, now))
        if found is not None:  # its hosts changed: who uses it goes on
            made.needs = found.needs
        self.paths[name] = made
        return made

    def _lane(self, path: Path, limits: PathLimits, now: int) -> LaneState:
        name = f"{path.source} {limits.provider}"
        found = self.lanes.get(name)
        if found is not None:
            return found
        one = self._options
        options = LaneOptions(
            max_per_hour=max(one.max_per_hour / one.share, 1.0),
            first_per_hour=max(one.first_per_hour / one.share, 1.0),
            max_connections=one.connections_max,
            max_messages_per_connection=one.messages_per_connection,
        )
        lane = Lane(options, now, self._kept.lanes.get(name))
        made = self.lanes[name] = LaneState(path.source, limits.provider, lane, now)
        made.domain = path.domain
        plan = plan_of(one.warmups, path.source, limits.provider)
        if plan is not None:
            kept = self._kept.warmups.get(name)
            made.warming = Warming(plan.options, now, kept, one.share)
            self._warmed[name] = made.warming
        return made

    def _forget(self, now: int) -> None:
        """Forget paths that nobody has asked for in a day."""
        old = [name for name, one in self.paths.items() if now - one.asked_ms > IDLE_PATH_MS]
        for name in old:
            del self.paths[name]
