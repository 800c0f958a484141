"""A tenant's scenarios as one version of the catalog has them, indexed by what opens them.

The index is made once for each catalog version and tenant, so that an event which interests no scenario costs one
look-up.
"""

from __future__ import annotations

__all__ = ("TenantView", "Views")

from collections.abc import Mapping

from engine.machine import CatalogView
from scenarios.compiling import CompiledScenario
from scenarios.settings import ContactSettings
from scenarios.state import Journey

_DEFAULTS = ContactSettings()


class TenantView:
    """What the contact machine asks of the catalog, for one tenant at one version."""

    __slots__ = ("_catalog", "_tenant", "by_event", "current", "settings")

    def __init__(self, catalog: CatalogView, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant
        self.current: Mapping[str, CompiledScenario] = catalog.all("scenario", tenant)
        found = catalog.find("setting", tenant, "contact")
        self.settings: ContactSettings = found if found is not None else _DEFAULTS
        by_event: dict[str, list[CompiledScenario]] = {}
        for _, compiled in sorted(self.current.items()):
            by_event.setdefault(compiled.event, []).append(compiled)
        self.by_event: Mapping[str, tuple[CompiledScenario, ...]] = {
            event: tuple(listed) for event, listed in by_event.items()
        }

    def of_journey(self, journey: Journey) -> CompiledScenario | None:
        """Give the version that a journey runs on; None when the catalog has lost it."""
        compiled = self.current.get(journey.scenario)
        if compiled is not None and compiled.version == journey.version:
            return compiled
        name = f"{journey.scenario}@{journey.version}"
        pinned: CompiledScenario | None = self._catalog.find("scenario-version", self._tenant, name)
        return pinned


class Views:
    """Keeps one `TenantView` a tenant, of the newest catalog seen. A memo, not a state: losing it changes nothing."""

    def __init__(self) -> None:
        self._catalog: CatalogView | None = None
        self._version = -1
        self._views: dict[str, TenantView] = {}

    def of(self, catalog: CatalogView, tenant: str) -> TenantView:
        """Give the view of a tenant, made anew when the catalog has changed."""
        if catalog is not self._catalog or catalog.version != self._version:
            self._catalog, self._version, self._views = catalog, catalog.version, {}
        view = self._views.get(tenant)
        if view is None:
            view = self._views[tenant] = TenantView(catalog, tenant)
        return view
