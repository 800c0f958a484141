"""A tenant's scenarios as one version of the catalog has them, indexed by what opens them.

The index is made once for each catalog version and tenant, so that an event which interests no
scenario costs one look-up.
"""

from __future__ import annotations

__all__ = ("Interest", "TenantView", "Views")

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from engine.keyspace import HASH_BYTES, tenant_of
from engine.machine import CatalogView
from scenarios.products import ProductList
from scenarios.settings import ContactSettings, Pause
from scenarios.state import Journey
from scenarios.trials import Measured, measured_by
from scenarios.zones import UTC, zone_of

if TYPE_CHECKING:  # a compiled scenario contains acts, and acts change drafts, which look here
    from scenarios.compiling import CompiledScenario, Opening, Watching
    from scenarios.experiments import Ruling
    from scenarios.migration import Migration
    from scenarios.segments import CompiledSegment

_DEFAULTS = ContactSettings()

OF_MAIL: Final = "mail."
"""Begins the events that mail gives rise to: clicks, complaints."""


class Interest:
    """What a tenant's scenarios want of events of one name, put together once: an event asks for it with one look-up.

    `window_ms`: how long their times are kept (None: they aren't); `of_mail`: mail gave rise to it; `reads`: somebody
    asks for the last mails; `looks_back`: their data are kept; `openings`: who may open a journey, in their order.
    """

    __slots__ = ("looks_back", "measured", "of_mail", "openings", "reads", "window_ms")

    def __init__(self, view: TenantView, event: str) -> None:
        self.window_ms = view.windows.get(event)
        self.of_mail = event.startswith(OF_MAIL)
        self.reads = self.of_mail and bool(view.mails_asked or view.asks_hours)
        self.measured = view.measured.get(event, ())
        self.looks_back = event in view.looks_back
        self.openings = view.by_event.get(event, ()) if event else ()


class TenantView:
    """What the contact machine asks of the catalog, for one tenant at one version.

    `by_event` has who may open a journey, the highest priority first, then by name; `by_segment` the same for a segment
    and whether it is left; `dated` the entries by date; `windows` the events whose times are kept, with how long (ms);
    `mails_asked` how many of the last mails somebody asks for; `asks_hours`: does a wait ask for the best hour?
    `products` the lists that steps look up; `paused` the scenarios that stand still; `measured` the experiments that an
    event counts for, and `rulings` what was decided of them, by their key; `versions` those that journeys were found
    on, by version (a hash over the scenario's name too), and `state_watches` their goals and exits without an event;
    `watching`: has one of those, or a current one, any? Campaigns are scenarios of their own section.
    """

    __slots__ = (
        "_catalog",
        "_interests",
        "_no_interest",
        "asks_hours",
        "by_event",
        "by_segment",
        "current",
        "dated",
        "looks_back",
        "mails_asked",
        "measured",
        "paused",
        "products",
        "rulings",
        "segments",
        "settings",
        "state_watches",
        "tenant",
        "versions",
        "watching",
        "windows",
        "zone",
    )

    def __init__(self, catalog: CatalogView, tenant: str) -> None:
        self._catalog = catalog
        self.tenant = tenant
        self.versions: dict[str, CompiledScenario] = {}
        self.state_watches: dict[str, tuple[Watching, ...]] = {}
        self.current: Mapping[str, CompiledScenario] = catalog.all("scenario", tenant)
        campaigns = catalog.all("campaign", tenant)
        if campaigns:
            self.current = {**self.current, **campaigns}
        self.segments: tuple[CompiledSegment, ...] = tuple(
            one for _, one in sorted(catalog.all("segment", tenant).items()) if one is not None
        )
        paused: Mapping[str, Pause] = catalog.all("pause", tenant)
        self.products: Mapping[str, ProductList] = catalog.all("products", tenant)
        self.paused = frozenset(name for name, one in paused.items() if one.since)
        found = catalog.find("setting", tenant, "contact")
        self.settings: ContactSettings = found if found is not None else _DEFAULTS
        self.zone: ZoneInfo = zone_of(self.settings.zone) or UTC
        ranked = sorted(self.current.values(), key=lambda one: (-one.scenario.priority, one.name))
        by_event: dict[str, tuple[tuple[CompiledScenario, Opening], ...]] = {}
        for compiled in ranked:
            for opening in compiled.openings:
                pair = (compiled, opening)
                if opening.event or opening.entry.becomes:
                    by_event[opening.event] = (*by_event.get(opening.event, ()), pair)
        self.by_event = by_event
        self.watching = any("" in one.reactions for one in ranked)
        self._index_entries(ranked)
        self.looks_back = frozenset(event for one in ranked for event in one.looks_back)
        windows: dict[str, int] = {}
        for one in ranked:
            for event, window_ms in one.windows.items():
                windows[event] = max(windows.get(event, 0), window_ms)
        for segment in self.segments:
            for event, window_ms in segment.windows.items():
                windows[event] = max(windows.get(event, 0), window_ms)
        self.windows: Mapping[str, int] = windows
        asked = [*(one.mails_asked for one in ranked), *(one.mails for one in self.segments)]
        self.mails_asked = max(asked, default=0)
        self.asks_hours = any(one.asks_hours for one in ranked)
        self.rulings: Mapping[str, Ruling] = catalog.all("experiment", tenant)
        measured: dict[str, tuple[Measured, ...]] = {}
        for compiled in ranked:
            for test in compiled.experiments:
                events = measured_by(test.key, test.scenario, test.metric, test.within_ms)
                for event, what in events.items():
                    measured[event] = (*measured.get(event, ()), what)
        self.measured: Mapping[str, tuple[Measured, ...]] = measured
        named = {*windows, *measured, *by_event, *self.looks_back}
        self._interests = {event: Interest(self, event) for event in named}
        # events that nobody names: mail's, and all others
        self._no_interest = Interest(self, ""), Interest(self, OF_MAIL)

    def interest(self, event: str) -> Interest:
        """Tell what is wanted of an event."""
        found = self._interests.get(event)
        return self._no_interest[event.startswith(OF_MAIL)] if found is None else found

    def _index_entries(self, ranked: list[CompiledScenario]) -> None:
        by_segment: dict[tuple[str, bool], tuple[tuple[CompiledScenario, Opening], ...]] = {}
        dated: list[tuple[str, CompiledScenario, Opening]] = []
        for compiled in ranked:
            for number, opening in enumerate(compiled.openings):
                entry = opening.entry
                if entry.segment and not entry.schedule:
                    place = (entry.segment, entry.leaves)
                    by_segment[place] = (*by_segment.get(place, ()), (compiled, opening))
                if opening.date is not None:
                    dated.append((f"{compiled.name}\0{number}", compiled, opening))
        self.by_segment = by_segment
        self.dated = tuple(dated)

    def of_journey(self, journey: Journey) -> CompiledScenario | None:
        """Give the version that a journey runs on; None when the catalog has lost it."""
        found = self.versions.get(journey.version)
        if found is None:
            found = self.version(journey.scenario, journey.version)
            if found is not None:
                self.versions[journey.version] = found
                self.watching = self.watching or "" in found.reactions
                self.state_watches[journey.version] = found.watches.get("", ())
        return found

    def version(self, scenario: str, version: str) -> CompiledScenario | None:
        """Give a version of a scenario, the current one or an older one; None: it isn't there."""
        compiled = self.current.get(scenario)
        if compiled is not None and (compiled.version == version or not version):
            return compiled
        name = f"{scenario}@{version}"
        pinned: CompiledScenario | None = self._catalog.find("scenario-version", self.tenant, name)
        return pinned

    def successor(self, journey: Journey) -> tuple[CompiledScenario, Mapping[str, str]] | None:
        """Give the version to which a journey moves at its next step, and the places of removed steps."""
        current = self.current.get(journey.scenario)
        if current is None or current.version == journey.version:
            return None
        found: Migration | None = self._catalog.find("migration", self.tenant, journey.scenario)
        if found is None or found.policy == "stay":
            return None
        return current, found.places


class Views:
    """Keeps one `TenantView` a tenant, of the newest catalog seen, by what comes before the name in a contact's key.

    A memo, not a state: losing it changes nothing.
    """

    def __init__(self) -> None:
        self._catalog: CatalogView | None = None
        self._version = -1
        self._views: dict[bytes, TenantView] = {}
        self._last: tuple[bytes, TenantView] | None = None

    def of(self, catalog: CatalogView, key: bytes) -> TenantView:
        """Give the view of a contact's tenant, made anew when the catalog has changed."""
        if catalog is not self._catalog or catalog.version != self._version:
            self._catalog, self._version, self._views = catalog, catalog.version, {}
            self._last = None
        last = self._last
        if last is not None and key.startswith(last[0], HASH_BYTES):
            return last[1]
        tenant = key[HASH_BYTES : key.index(b"\0", HASH_BYTES + 1) + 1]
        view = self._views.get(tenant)
        if view is None:
            view = self._views[tenant] = TenantView(catalog, tenant_of(key))
        self._last = tenant, view
        return view
