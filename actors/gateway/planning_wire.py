"""What requests of planning say, as strict Structs."""

from __future__ import annotations

__all__ = (
    "ByCommand",
    "CampaignIn",
    "CountIn",
    "DecideIn",
    "EnterIn",
    "MigrateIn",
    "PublishIn",
    "ResumeIn",
    "RollbackIn",
    "SegmentIn",
    "TestIn",
)

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from actors.gateway.wire import Name
from actors.planning.versions import SPREAD_MS, Migrating

_File = Annotated[str, Meta(max_length=300, description="its file, for places of mistakes")]
_Text = Annotated[str, Meta(max_length=200_000)]
_Reason = Annotated[str, Meta(max_length=500, description="why; it goes on record")]
_Policy = Literal["stay", "next", "now"]
_Spread = Annotated[int, Meta(ge=0, le=31 * 86_400_000)]


class ByCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something is done."""

    reason: _Reason = ""


class StartIn(ByCommand, frozen=True, kw_only=True):
    """`override`: why a campaign starts though preflight blocks it; goes on record."""

    override: _Reason = ""


class _Moving(ByCommand, frozen=True, kw_only=True):
    """What becomes of contacts under way."""

    policy: _Policy = "stay"
    places: dict[Name, str] = {}
    spread_ms: _Spread = SPREAD_MS

    def migrating(self) -> Migrating:
        """Give it as the desk takes it."""
        return Migrating(self.policy, self.places, self.spread_ms)


class PublishIn(_Moving, frozen=True, kw_only=True):
    """A scenario to publish. `preview`: tell what it would do, and change nothing.

    `override`: why it is published though preflight blocks it (`[preflight] at_publish = "refuse"`); goes on record.
    """

    text: _Text
    file: _File = ""
    preview: bool = False
    override: _Reason = ""


class RollbackIn(_Moving, frozen=True, kw_only=True):
    """Which version becomes current again; "" is the one before."""

    version: str = ""


class MigrateIn(_Moving, frozen=True, kw_only=True):
    """To which version contacts under way go; "" is the current one. `preview` changes nothing."""

    version: str = ""
    preview: bool = False


class ResumeIn(ByCommand, frozen=True, kw_only=True):
    """Over which time what came due in a pause is spread."""

    spread_ms: _Spread = SPREAD_MS


class EnterIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A contact that enters a scenario; `data` is its `event`. `id` makes repeating the request harmless."""

    contact: Name
    id: Name | None = None
    data: dict[str, Any] = {}
    by: Literal["api", "list"] = "api"


class SegmentIn(ByCommand, frozen=True, kw_only=True):
    """A segment to publish."""

    text: _Text
    file: _File = ""


class CountIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition over contact."""

    when: Annotated[str, Meta(max_length=10_000)]


class DecideIn(ByCommand, frozen=True, kw_only=True):
    """The variant that an experiment is decided for."""

    variant: Name


class CampaignIn(ByCommand, frozen=True, kw_only=True):
    """A campaign to create."""

    text: _Text
    file: _File = ""


class TestIn(ByCommand, frozen=True, kw_only=True):
    """Contacts or addresses to which each variant is sent now."""

    __test__ = False  # pytest: no test class

    to: Annotated[list[Name], Meta(min_length=1, max_length=50)]
    id: Name | None = None
