"""Versions of scenarios and segments: published, rolled back, paused, with a record of who and why.

Works on the data directory alone, so that it serves a running instance (which then brings the catalog to its workers)
as well as one that is down. One writer: whoever uses it holds the directory.
"""

from __future__ import annotations

__all__ = (
    "Author",
    "Migrating",
    "Published",
    "VersionDesk",
    "VersionView",
    "proposed_places",
)

from pathlib import Path
from typing import Literal

import msgspec

from actors.endpoint_uses import endpoint_mistakes
from actors.planning.aims import Aim, LookAtAll, Move, Release, Revert
from actors.planning.runs import Run, RunFiles, run_id
from actors.preflighting import PreflightLine
from actors.product_uses import product_mistakes
from actors.template_uses import template_mistakes
from deliverability.compose.template import Template
from engine.catalog import Head, Item, digest_of
from engine.control_log import Change
from engine.errors import InputError, RefusedError
from engine.store.catalog_files import CatalogFiles
from engine.store.control_file import ControlFile
from scenarios.checking import load
from scenarios.difference import Change as Difference
from scenarios.difference import differences, places_for_removed
from scenarios.history import HistoryDiff
from scenarios.migration import Migration
from scenarios.model import Scenario, Standing, walk
from scenarios.products import products_of
from scenarios.segments import Segment, load_segment
from scenarios.settings import ContactSettings, Pause

Policy = Literal["stay", "next", "now"]
SPREAD_MS = 3_600_000
MEND_ABSENT = "add its files to the folder of templates, and start `veredus up` anew"


class Author(msgspec.Struct, frozen=True):
    """Who changes something, why, and when (ms)."""

    actor: str
    reason: str
    now: int


class Migrating(msgspec.Struct, frozen=True):
    """What becomes of contacts under way, and where those at removed steps go ("": they end)."""

    policy: Policy = "stay"
    places: dict[str, str] = {}
    spread_ms: int = SPREAD_MS


class Published(msgspec.Struct, frozen=True):
    """What publishing came to. `run` names the walk that it made necessary ("" for none)."""

    name: str
    version: str
    before: str  # the version that was current; "" for none
    changed: bool
    catalog: int
    policy: Policy = "stay"
    places: dict[str, str] = {}
    changes: list[Difference] = []
    runs: list[str] = []
    preflight: list[PreflightLine] = []
    unexamined: str = ""  # what preflight could not look at, and why
    history: HistoryDiff | None = (
        None  # of a running instance: what the last days say about the change
    )


class VersionView(msgspec.Struct, frozen=True):
    """A version of a scenario: when it became current last, and by whom."""

    name: str
    version: str
    current: bool
    published_at: int = 0
    actor: str = ""
    reason: str = ""
    description: str = ""


def proposed_places(before: Scenario, after: Scenario, asked: dict[str, str]) -> dict[str, str]:
    """Complete a map for removed steps: what is asked for goes before what is proposed.

    Raises: InputError: a step that isn't removed, or a place that no journey can stand at.
    """
    proposal = places_for_removed(before, after)
    standing = {step.id for step in walk(after.steps) if isinstance(step, Standing)}
    for step, place in asked.items():
        if step not in proposal:
            known = ", ".join(proposal) or "none"
            raise InputError(f"`{step}` isn't a removed step that waits", mend=f"removed: {known}")
        if place and place not in standing:
            known = ", ".join(sorted(standing)) or "none"
            raise InputError(f"no journey can stand at `{place}`", mend=f"waiting steps: {known}")
    return {**proposal, **asked}


class VersionDesk:
    """Publishes into the catalog of a data directory, and writes the runs that this makes necessary."""

    def __init__(self, data_dir: Path) -> None:
        self._files = CatalogFiles(data_dir / "catalog")
        self._log_path = data_dir / "control.log"
        self.runs = RunFiles(data_dir)

    # ---- looking

    def head(self) -> Head:
        """The newest catalog."""
        return self._files.head()

    def text(self, tenant: str, name: str, version: str = "") -> str | None:
        """Give the text of a scenario, of its current version or another; None: there is none."""
        place = ("scenario", name) if not version else ("scenario-version", f"{name}@{version}")
        for item in self._files.head().items:
            if (item.section, item.name) == place and item.tenant == tenant:
                return self._files.objects.get(item.digest).decode()
        return None

    def content(self, tenant: str, section: str, name: str) -> bytes | None:
        """Give what is published under a name; None: nothing is."""
        item = self._item(tenant, section, name)
        return self._files.objects.get(item.digest) if item is not None else None

    def contact_settings(self, tenant: str) -> ContactSettings:
        """Read what a tenant has decided about its contacts."""
        item = self._item(tenant, "setting", "contact")
        if item is None:
            return ContactSettings()
        return msgspec.json.decode(self._files.objects.get(item.digest), type=ContactSettings)

    def segments(self, tenant: str) -> list[Segment]:
        """List the segments of a tenant."""
        return [
            msgspec.json.decode(self._files.objects.get(item.digest), type=Segment)
            for item in self._files.head().items
            if (item.section, item.tenant) == ("segment", tenant)
        ]

    def check_uses(self, tenant: str, text: str, file: str) -> None:
        """Check a scenario's steps against the templates, endpoints and lists of products that are there.

        Raises: InputError: one of them isn't, or a template uses what no step or list gives.
        """
        templates = {
            item.name: msgspec.json.decode(self._files.objects.get(item.digest), type=Template)
            for item in self._files.head().items
            if (item.section, item.tenant) == ("template", tenant)
        }
        for mistake in template_mistakes(text, file, templates, mend_absent=MEND_ABSENT):
            raise mistake.error()
        for mistake in endpoint_mistakes(text, file, self.contact_settings(tenant).endpoints):
            raise mistake.error()
        lists = {
            item.name: products_of(self._files.objects.get(item.digest))
            for item in self._files.head().items
            if (item.section, item.tenant) == ("products", tenant)
        }
        for mistake in product_mistakes(text, file, lists, templates):
            raise mistake.error()

    def scenario(self, tenant: str, name: str, version: str = "") -> Scenario:
        """Read a published scenario. Raises: InputError: there is none."""
        text = self.text(tenant, name, version)
        if text is None:
            what = f"version {version} of {name!r}" if version else f"scenario {name!r}"
            raise InputError(f"there is no {what}", mend="`veredus scenario versions` lists all")
        return load(text, name)

    def versions(self, tenant: str, name: str = "") -> list[VersionView]:
        """List the versions of a scenario, or of all; the newest last."""
        items = [one for one in self._files.head().items if one.tenant == tenant]
        current = {
            one.name: load(self._files.objects.get(one.digest).decode(), one.name).version
            for one in items
            if one.section == "scenario" and name in {"", one.name}
        }
        told: dict[str, tuple[int, int, str, str]] = {}
        for record in ControlFile(self._log_path).records():
            change = record.change
            if change.tenant == tenant and change.subject.startswith("scenario "):
                key = f"{change.subject.rpartition('/')[2]}\0{change.after.hex()}"
                told[key] = (record.seq, record.at, change.actor, change.reason)
        found: list[tuple[int, VersionView]] = []
        for item in items:
            if item.section != "scenario-version":
                continue
            owner, _, version = item.name.partition("@")
            if name not in {"", owner}:
                continue
            seq, at, actor, reason = told.get(f"{owner}\0{item.digest}", (0, 0, "", ""))
            text = self._files.objects.get(item.digest).decode()
            mine = current.get(owner) == version
            about = load(text, owner).description
            found.append((seq, VersionView(owner, version, mine, at, actor, reason, about)))
        return [view for _, view in sorted(found, key=lambda one: (one[1].name, one[0]))]

    def paused(self, tenant: str) -> list[str]:
        """List the scenarios that stand still."""
        return [
            item.name
            for item in self._files.head().items
            if (item.section, item.tenant) == ("pause", tenant)
            and msgspec.json.decode(self._files.objects.get(item.digest), type=Pause).since
        ]

    # ---- changing

    def publish(
        self, tenant: str, text: str, file: str, migrating: Migrating, author: Author
    ) -> Published:
        """Publish a scenario: immutable, content-hashed, on record; with what becomes of contacts under way.

        Publishing what is current already changes nothing. Raises: InputError: with all that is wrong, a template that
        isn't there or uses what no step gives, an endpoint that isn't there, or a map that can't be used.
        """
        load(text, file)  # what is wrong with the text itself is told first
        self.check_uses(tenant, text, file)
        return self._make_current(tenant, text, file, migrating, author)

    def _make_current(
        self, tenant: str, text: str, file: str, migrating: Migrating, author: Author
    ) -> Published:
        after = load(text, file)
        known = self.text(tenant, after.name)
        before = load(known, after.name) if known is not None else None
        if before is not None and before.version == after.version and known == text:
            version = self._files.head().version
            return Published(after.name, after.version, after.version, False, version)
        places: dict[str, str] = {}
        changes: list[Difference] = []
        if before is not None:
            places = proposed_places(before, after, migrating.places)
            changes = differences(before, after)
        elif migrating.places:
            raise InputError(f"`{after.name}` is new: there is nobody to move")
        raw = text.encode()
        migration = Migration(migrating.policy, places)
        contents = [
            ("scenario", after.name, raw),
            ("migration", after.name, msgspec.json.encode(migration)),
        ]
        if self.text(tenant, after.name, after.version) is None:  # a version never changes
            contents.append(("scenario-version", f"{after.name}@{after.version}", raw))
        subject = f"scenario {tenant}/{after.name}"
        head = self.put(tenant, contents, subject, "publish", author)
        runs = self._runs_of(tenant, before, after, migrating, places, head, author)
        return Published(
            after.name,
            after.version,
            before.version if before else "",
            True,
            head.version,
            migrating.policy,
            places,
            changes,
            runs,
        )

    def _runs_of(
        self,
        tenant: str,
        before: Scenario | None,
        after: Scenario,
        migrating: Migrating,
        places: dict[str, str],
        head: Head,
        author: Author,
    ) -> list[str]:
        """Write the walks that a version makes necessary: journeys that move now, dates that are new."""
        runs: list[str] = []
        if before is not None and migrating.policy == "now":
            aim = Move(after.name, after.version, places, migrating.spread_ms)
            runs.append(self._run(tenant, aim, f"scenario {after.name}", head, author).id)
        dates = [entry for entry in after.entries if entry.date]
        if dates and (before is None or dates != [one for one in before.entries if one.date]):
            look = LookAtAll()
            runs.append(self._run(tenant, look, f"dates of {after.name}", head, author).id)
        return runs

    def rollback(
        self, tenant: str, name: str, version: str, migrating: Migrating, author: Author
    ) -> Published:
        """Make an older version current again; "" is the one before the current. Raises: InputError.

        Templates aren't checked: the way back stays open, whatever has become of them since.
        """
        if not version:
            known = self.versions(tenant, name)
            others = [one for one in known if not one.current]
            if not others:
                raise InputError(f"`{name}` has no version before the current one")
            version = max(others, key=lambda one: one.published_at).version
        text = self.text(tenant, name, version)
        if text is None:
            raise InputError(
                f"there is no version {version} of {name!r}",
                mend=f"`veredus scenario versions {name}` lists all",
            )
        return self._make_current(tenant, text, f"{name}@{version}", migrating, author)

    def migrate(
        self, tenant: str, name: str, migrating: Migrating, version: str, author: Author
    ) -> Run | None:
        """Choose anew what becomes of contacts under way of older versions; the run of a move now."""
        current = self.scenario(tenant, name)
        target = self.scenario(tenant, name, version) if version else current
        if migrating.policy != "now" and target.version != current.version:
            raise InputError(
                "journeys can move at their next step to the current version alone",
                mend="roll back to it first, or move them now",
            )
        content = msgspec.json.encode(Migration(migrating.policy, migrating.places))
        subject = f"scenario {tenant}/{name}"
        head = self.put(tenant, [("migration", name, content)], subject, "migrate", author)
        if migrating.policy != "now":
            return None
        aim = Move(name, target.version, migrating.places, migrating.spread_ms)
        return self._run(tenant, aim, f"scenario {name}", head, author)

    def revert(self, tenant: str, identity: str, author: Author) -> Run:
        """Move back what a run has moved, but for journeys that have gone on since. Raises: InputError."""
        run = self.runs.get(identity)
        if not isinstance(run.aim, Move) or run.tenant != tenant:
            raise InputError(f"run {identity} moved no journeys")
        if run.state in {"running", "paused"}:
            self.runs.keep(msgspec.structs.replace(run, state="cancelled", finished_at=author.now))
        aim = Revert(run.aim.scenario, run.id, run.aim.spread_ms)
        head = self._files.head()
        self.note(tenant, f"run {identity}", "revert", author)
        return self._run(tenant, aim, run.subject, head, author)

    def steer(self, run: Run, action: Literal["pause", "resume", "cancel"], author: Author) -> Run:
        """Pause, resume or cancel a run. Raises: RefusedError: it isn't in a state for that."""
        wanted = {"pause": ("running",), "resume": ("paused",), "cancel": ("running", "paused")}
        if run.state not in wanted[action]:
            raise RefusedError(f"run {run.id} is {run.state}")
        self.note(run.tenant, f"run {run.id} ({run.subject})", action, author)
        match action:
            case "pause":
                changed = msgspec.structs.replace(run, state="paused")
            case "resume":
                changed = msgspec.structs.replace(run, state="running")
            case "cancel":
                changed = msgspec.structs.replace(run, state="cancelled", finished_at=author.now)
        self.runs.keep(changed)
        return changed

    def pause(self, tenant: str, name: str, author: Author) -> None:
        """Let a scenario stand still. Raises: InputError: there is none; RefusedError: it does already."""
        self.scenario(tenant, name)
        if name in self.paused(tenant):
            raise RefusedError(f"`{name}` is paused already")
        content = msgspec.json.encode(Pause(author.now))
        self.put(tenant, [("pause", name, content)], f"scenario {tenant}/{name}", "pause", author)

    def resume(self, tenant: str, name: str, spread_ms: int, author: Author) -> Run:
        """End a pause; what came due in it is due now, spread over a time. Raises: RefusedError: there is none."""
        if name not in self.paused(tenant):
            raise RefusedError(f"`{name}` isn't paused")
        content = msgspec.json.encode(Pause(0))
        subject = f"scenario {tenant}/{name}"
        head = self.put(tenant, [("pause", name, content)], subject, "resume", author)
        return self._run(tenant, Release(name, spread_ms), f"scenario {name}", head, author)

    def publish_segment(self, tenant: str, text: str, file: str, author: Author) -> Run | None:
        """Publish a segment; the run looks at every contact. None: it is current already."""
        segment = load_segment(text, file)
        content = msgspec.json.encode(segment)
        before = self._item(tenant, "segment", segment.name)
        if before is not None and before.digest == digest_of(content):
            return None
        subject = f"segment {tenant}/{segment.name}"
        head = self.put(tenant, [("segment", segment.name, content)], subject, "publish", author)
        return self._run(tenant, LookAtAll(), f"segment {segment.name}", head, author)

    def refresh_segments(self, tenant: str, author: Author) -> Run:
        """Look at every contact anew: what the passing of time alone has changed shows then, and opens journeys."""
        self.note(tenant, f"segments of {tenant}", "refresh", author)
        return self._run(tenant, LookAtAll(enter=True), "segments", self._files.head(), author)

    # ---- inside

    def _item(self, tenant: str, section: str, name: str) -> Item | None:
        wanted = (section, tenant, name)
        for item in self._files.head().items:
            if (item.section, item.tenant, item.name) == wanted:
                return item
        return None

    def put(
        self,
        tenant: str,
        contents: list[tuple[str, str, bytes]],
        subject: str,
        action: str,
        author: Author,
    ) -> Head:
        """Publish contents together; first on record, by the digest of the first."""
        section, name, content = contents[0]
        old = self._item(tenant, section, name)
        change = Change(
            actor=author.actor,
            action=action,
            subject=subject,
            tenant=tenant,
            reason=author.reason,
            before=bytes.fromhex(old.digest) if old is not None else b"",
            after=bytes.fromhex(digest_of(content)),
        )
        ControlFile(self._log_path).append(author.now, change)
        return self._files.publish([(s, tenant, n, c) for s, n, c in contents])

    def note(
        self, tenant: str, subject: str, action: str, author: Author, content: str = ""
    ) -> None:
        """Put something on record that isn't in the catalog."""
        change = Change(
            actor=author.actor,
            action=action,
            subject=subject,
            tenant=tenant,
            reason=author.reason,
            after=bytes.fromhex(digest_of(content.encode())) if content else b"",
        )
        ControlFile(self._log_path).append(author.now, change)

    def _run(self, tenant: str, aim: Aim, subject: str, head: Head, author: Author) -> Run:
        identity = run_id(tenant, repr(aim), str(head.version), str(author.now))
        run = Run(
            id=identity,
            tenant=tenant,
            aim=aim,
            subject=subject,
            actor=author.actor,
            reason=author.reason,
            created_at=author.now,
            catalog=head.version,
        )
        return self.runs.add(run)
