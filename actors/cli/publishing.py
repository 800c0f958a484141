"""`veredus scenario publish` and its like: versions and contacts under way, of an instance that runs or is down."""

from __future__ import annotations

__all__ = ("add_publishing",)

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.moving import Places, Policy, Spread, read_moving
from actors.cli.options import AsJson, Data, Tenant
from actors.cli.output import clock, print_json, print_line, print_table
from actors.text_file import read_text
from engine.errors import InputError, RefusedError

if TYPE_CHECKING:
    from actors.planning.desk import Preview
    from actors.planning.versions import Author, Migrating, Published, VersionDesk
    from actors.preflighting import PreflightLine
    from scenarios.history import HistoryDiff

T = TypeVar("T")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The scenario's name.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; it goes on record. No address in it.")]
_Preview = Annotated[bool, typer.Option("--preview", help="Tell what it would do; change nothing.")]


def _post(data: Path | None, tenant: str, path: str, body: dict[str, Any], to: type[T]) -> T:
    with Client(find_data_dir(data, os.environ), tenant) as client:
        return client.give("POST", path, msgspec.json.encode(body), to)


def _on_files(
    data: Path | None, tenant: str, reason: str, work: Callable[[VersionDesk, str, Author], T]
) -> T:
    """Work on the data directory of an instance that is down, holding it meanwhile."""
    from actors.instance.lock import locked
    from actors.planning.versions import Author, VersionDesk

    folder = find_data_dir(data, os.environ)
    if not folder.is_dir():
        raise RefusedError(
            f"there is no data directory {folder}", mend="name it with --data, or `veredus up`"
        )
    author = Author(f"uid {os.getuid()}", reason, time.time_ns() // 1_000_000)

    async def held() -> T:
        async with locked(folder, wait_s=0.0):
            return work(VersionDesk(folder), tenant or _first_tenant(folder), author)

    return asyncio.run(held())


def _first_tenant(folder: Path) -> str:
    from engine.store.catalog_files import CatalogFiles

    tenants = sorted({item.tenant for item in CatalogFiles(folder / "catalog").head().items})
    return tenants[0] if len(tenants) == 1 else "default"


def _running(data: Path | None) -> bool:
    from actors.local_socket import SOCKET_NAME, holder_of

    return holder_of(find_data_dir(data, os.environ) / SOCKET_NAME) is not None


def add_publishing(app: typer.Typer) -> None:
    """Add the commands to those of `veredus scenario`."""
    for function in (
        publish,
        versions,
        rollback,
        migrate,
        revert,
        pause,
        resume,
        runs,
        enter,
        journeys,
    ):
        app.command(function.__name__)(function)


def publish(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario files.")],
    policy: Policy = "stay",
    place: Places = None,
    spread: Spread = "1h",
    reason: _Reason = "",
    override: Annotated[
        str,
        typer.Option(
            "--override",
            metavar="WHY",
            help="Publish though preflight blocks it; goes on record.",
        ),
    ] = "",
    preview: _Preview = False,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Publish scenarios: immutable, content-hashed, on record in the control log.

    Contacts under way stay on their version, move at their next step, or move now; `--preview` shows what
    changed in meaning, who would go where and be due when, and what recent history says: who would take
    another path, get a mail more or one less. Works on an instance that is down, too, but for the preview and
    what preflight finds in the templates (`up` tells that then).
    """
    from actors.planning.desk import Preview
    from actors.planning.versions import Migrating, Published

    moving = read_moving(policy, place, spread)
    told: list[Published | Preview] = []
    for file in files:
        text = read_text(file)
        body = {"text": text, "file": str(file), "reason": reason, "override": override, **moving}
        if preview:
            told.append(_post(data, tenant, "/v1/scenarios", {**body, "preview": True}, Preview))
        elif _running(data):
            told.append(_post(data, tenant, "/v1/scenarios", body, Published))
        else:
            told.append(_publish_file(data, tenant, reason, file, Migrating(**moving)))
    if as_json:
        print_json(told if len(told) > 1 else told[0])
        return
    for one in told:
        if isinstance(one, Preview):
            _show_preview(one)
        else:
            _show_published(one)


def _publish_file(
    data: Path | None, tenant: str, reason: str, file: Path, migrating: Migrating
) -> Published:
    text = read_text(file)
    return _on_files(
        data,
        tenant,
        reason,
        lambda desk, owner, author: desk.publish(owner, text, str(file), migrating, author),
    )


def _show_published(one: Published) -> None:
    if not one.changed:
        print_line(f"{one.name} {one.version} is current already")
        show_preflight(one.preflight, one.unexamined)
        return
    before = f", before {one.before}" if one.before else ""
    print_line(f"{one.name} {one.version} is current{before}; contacts under way: {one.policy}")
    for step, place in one.places.items():
        print_line(f"  journeys at {step} {f'go to {place}' if place else 'end'}")
    for run in one.runs:
        print_line(f"  run {run} walks over all contacts: `veredus scenario runs`")
    _show_history(one.history)
    show_preflight(one.preflight, one.unexamined)


def show_preflight(lines: list[PreflightLine], unexamined: str) -> None:
    """Tell what providers would refuse (`block`) or mind (`warn`), with its mend."""
    for line in lines:
        mend = f"; mend: {line.mend}" if line.mend else ""
        print_line(
            f"  preflight {line.verdict}: {line.check} ({line.subject}): {line.found}{mend}"
            f" [template {line.template}]"
        )
    if unexamined:
        print_line(f"  preflight could not look: {unexamined}")


def _show_preview(one: Preview) -> None:
    from scenarios.difference import told

    print_line(f"{one.name}: {one.before or 'new'} -> {one.after}")
    for change in one.changes:
        print_line(f"  {told(change)}")
    rows = [(move.step, move.to or "(ends)", move.due, move.journeys) for move in one.moves]
    if rows:
        print_table("Moved now", ("stands at", "goes to", "due", "journeys"), rows)
    _show_history(one.history)
    show_preflight(one.preflight, one.unexamined)


def _show_history(history: HistoryDiff | None) -> None:
    if history is None:
        return
    print_line(
        f"\nOf {history.contacts} contacts with events in the last 30 days {history.other_path} would take "
        f"another path: {history.more_mail} get more mail, {history.less_mail} less "
        f"({history.mails_before} -> {history.mails_after} mails)"
    )
    if history.examples:
        print_line(f"for example {', '.join(history.examples)}")


def versions(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Default: all scenarios.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List published versions: which is current, when, by whom and why it was published."""
    from actors.planning.desk import Versions

    if _running(data):
        with Client(find_data_dir(data, os.environ), tenant) as client:
            found = client.get("/v1/scenarios", Versions, name=name)
    else:
        found = _on_files(
            data,
            tenant,
            "",
            lambda desk, owner, _: Versions(desk.versions(owner, name), desk.paused(owner)),
        )
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.name,
            one.version,
            ("paused" if one.name in found.paused else "current") if one.current else "",
            clock(one.published_at or None),
            one.actor,
            one.reason or one.description,
        )
        for one in found.versions
    ]
    print_table("", ("scenario", "version", "", "published", "by", "why"), rows)


def rollback(
    name: _Name,
    version: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="Default: the one before.")
    ] = "",
    policy: Policy = "stay",
    place: Places = None,
    spread: Spread = "1h",
    reason: _Reason = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an older version current again."""
    from actors.planning.versions import Migrating, Published

    moving = read_moving(policy, place, spread)
    if _running(data):
        body = {"version": version, "reason": reason, **moving}
        path = f"/v1/scenarios/{quoted(name)}/rollback"
        done = _post(data, tenant, path, body, Published)
    else:
        done = _on_files(
            data,
            tenant,
            reason,
            lambda desk, owner, author: desk.rollback(
                owner, name, version, Migrating(**moving), author
            ),
        )
    if as_json:
        print_json(done)
    else:
        _show_published(done)


def migrate(
    name: _Name,
    version: Annotated[
        str, typer.Option("--to", metavar="VERSION", help="Default: the current.")
    ] = "",
    policy: Policy = "now",
    place: Places = None,
    spread: Spread = "1h",
    reason: _Reason = "",
    preview: _Preview = False,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Choose anew what becomes of contacts under way of other versions.

    `--preview` counts by step: where they would go, and when they would be due. The move runs in the background
    (`veredus scenario runs`) and can be reverted (`veredus scenario revert RUN`).
    """
    from actors.planning.desk import Preview, RunList

    body = {"version": version, "reason": reason, "preview": preview}
    body |= read_moving(policy, place, spread)
    path = f"/v1/scenarios/{quoted(name)}/migrate"
    if preview:
        shown = _post(data, tenant, path, body, Preview)
        if as_json:
            print_json(shown)
        else:
            _show_preview(shown)
        return
    begun = _post(data, tenant, path, body, RunList)
    if as_json:
        print_json(begun)
    elif begun.runs:
        print_line(f"run {begun.runs[0].id} moves them; `veredus scenario runs` tells how it goes")
    else:
        print_line(f"contacts under way: {policy}")


def revert(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run that moved journeys.")],
    reason: _Reason = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Move journeys back to where a run found them, but for those that have gone on since."""
    from actors.planning.runs import Run

    begun = _post(data, tenant, f"/v1/runs/{quoted(run)}/revert", {"reason": reason}, Run)
    if as_json:
        print_json(begun)
    else:
        print_line(f"run {begun.id} moves them back")


def pause(name: _Name, reason: _Reason = "", tenant: Tenant = "", data: Data = None) -> None:
    """Let a scenario stand still: no journey opens, no wait ends, no mail of it is handed over."""
    from actors.planning.desk import Versions

    _post(data, tenant, f"/v1/scenarios/{quoted(name)}/pause", {"reason": reason}, Versions)
    print_line(f"{name} is paused")


def resume(
    name: _Name,
    spread: Spread = "1h",
    reason: _Reason = "",
    tenant: Tenant = "",
    data: Data = None,
) -> None:
    """End a pause: what came due in it is due now, spread over a time; mail that is too `late` is skipped."""
    from actors.planning.runs import Run

    moving = read_moving("stay", None, spread)
    body = {"reason": reason, "spread_ms": moving["spread_ms"]}
    begun = _post(data, tenant, f"/v1/scenarios/{quoted(name)}/resume", body, Run)
    print_line(f"{name} goes on; run {begun.id} releases what was held")


def runs(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """List runs over many contacts: moves, schedules, segments, campaigns."""
    from actors.planning.desk import RunList

    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/runs", RunList)
    if as_json:
        print_json(found)
        return
    rows = [
        (one.id, clock(one.created_at), one.subject, one.state, one.looked, one.given)
        for one in found.runs
    ]
    print_table("", ("run", "begun", "about", "state", "looked at", "given"), rows)


def enter(
    name: _Name,
    contacts: Annotated[
        list[str] | None, typer.Argument(metavar="[CONTACT...]", help="Ids of contacts.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="A list: one id a line, or lines of JSON objects."
        ),
    ] = None,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let contacts enter a scenario that has an entry `by: api` (those named here) or `by: list` (a file).

    The ids of a list's rows are derived from its content: a list that is given again enters nobody twice.
    """
    results = []
    with Client(find_data_dir(data, os.environ), tenant) as client:
        for items in _entering(contacts or [], file):
            path = f"/v1/scenarios/{quoted(name)}/journeys"
            answer = client.give("POST", path, msgspec.json.encode(items), _Results)
            results += answer.results
    if as_json:
        print_json(results)
        return
    counted: dict[str, int] = {}
    for one in results:
        counted[one.status] = counted.get(one.status, 0) + 1
    print_line(
        ", ".join(f"{number} {status}" for status, number in sorted(counted.items())) or "nobody"
    )


class _ItemResult(msgspec.Struct, frozen=True):
    id: str
    status: str
    reason: str = ""


class _Results(msgspec.Struct, frozen=True):
    results: list[_ItemResult]


def _entering(contacts: list[str], file: Path | None) -> list[list[dict[str, Any]]]:
    """Make the requests, at most 500 contacts each."""
    from hashlib import blake2b

    from engine.ids import row_input_id

    items: list[dict[str, Any]] = [{"contact": one, "by": "api"} for one in contacts]
    if file is not None:
        text = read_text(file)
        digest = blake2b(text.encode(), digest_size=16).digest()
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            item: dict[str, Any] = {"contact": line.strip()}
            if line.lstrip().startswith("{"):
                try:
                    item = msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.MsgspecError as error:
                    raise InputError(f"{file}:{number}: {error}") from None
            items.append({**item, "by": "list", "id": row_input_id(digest, number)})
    if not items:
        raise InputError("nobody is named", mend="name contacts, or a list with --file")
    return [items[begin : begin + 500] for begin in range(0, len(items), 500)]


def journeys(name: _Name, tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """Count the journeys of a scenario by version and step."""
    from actors.planning.desk import Journeys

    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get(f"/v1/scenarios/{quoted(name)}/journeys", Journeys)
    if as_json:
        print_json(found)
        return
    rows = [(one.version, one.step, one.journeys) for one in found.steps]
    print_table("", ("version", "step", "journeys"), rows)
