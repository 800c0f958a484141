"""The endpoints of planning: versions of scenarios, segments, runs, campaigns. For operators, but for one."""

from __future__ import annotations

__all__ = ("PLANNING_HANDLERS",)

import secrets
import time
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, QueryParameter

from actors.backend import Addressee, Arrival, SendRequest
from actors.gateway import planning_wire as wire
from actors.gateway.bodies import decode_items
from actors.gateway.campaign_outlook import with_outlook
from actors.gateway.coupons import check_pools
from actors.gateway.handling import (
    ProblemError,
    contact_of,
    edge_of,
    operator_only,
    tenant_of,
)
from actors.gateway.intake import ItemOutcome, Results
from actors.gateway.planning_asking import asked_of, author_of, history_of, keeper_of, read_body
from actors.gateway.planning_preflight import let_through, look_at
from actors.gateway.problems import problem
from actors.planning.aims import CountJourneys, CountMembers, RehearseMove
from actors.planning.campaigns import CampaignRecord, CampaignReport
from actors.planning.desk import (
    CampaignLine,
    CampaignList,
    Decisions,
    JourneyCount,
    Journeys,
    Members,
    Preview,
    RunList,
    ScenarioView,
    Segments,
    SegmentView,
    Tested,
    Versions,
    lines_of_move,
)
from actors.planning.keeper import Keeper
from actors.planning.recount import Done
from actors.planning.runs import Run
from actors.planning.versions import Migrating, Published, proposed_places
from engine.errors import InputError, RefusedError
from engine.ids import derive
from engine.keyspace import contact_key
from engine.vocabulary import SendDirect
from scenarios.checking import load
from scenarios.difference import differences
from scenarios.runs import EnterJourney
from scenarios.segments import load_segment

_Request = Request[Any, Any, Any]
_NameQuery = Annotated[str, QueryParameter(max_length=100, description="Of this one alone.")]


# ---- scenarios


@post("/v1/scenarios", status_code=200, guards=[operator_only], opt={"body": wire.PublishIn})
async def post_scenario(request: _Request) -> Published | Preview:
    """Publish a scenario, or with `preview` tell what that would do; `policy` is for contacts under way.

    What preflight finds is told; what blocks is refused where `[preflight]` says so, unless `override` says why.
    """
    asked, keeper, tenant = (
        await read_body(request, wire.PublishIn),
        keeper_of(request),
        tenant_of(request),
    )
    await check_pools(request, asked.text, asked.file)
    if asked.preview:
        return await _preview(keeper, tenant, asked.text, asked.file, asked.migrating())
    scenario = load(asked.text, asked.file)
    keeper.versions.check_uses(tenant, asked.text, asked.file)
    known = keeper.versions.text(tenant, scenario.name)
    changes = known != asked.text
    looked = await look_at(keeper, tenant, scenario, asked.override, refuses=changes)
    author = looked.author(author_of(request, asked.reason))
    done = keeper.versions.publish(tenant, asked.text, asked.file, asked.migrating(), author)
    history = await history_of(keeper, tenant, known, asked.text) if done.changed else None
    return msgspec.structs.replace(
        done, preflight=looked.lines, unexamined=looked.unexamined, history=history
    )


async def _preview(
    keeper: Keeper, tenant: str, text: str, file: str, migrating: Migrating
) -> Preview:
    after = load(text, file)
    keeper.versions.check_uses(tenant, text, file)
    looked = await look_at(keeper, tenant, after, "", refuses=False)
    known = keeper.versions.text(tenant, after.name)
    if known is None:
        return Preview(
            after.name, "", after.version, preflight=looked.lines, unexamined=looked.unexamined
        )
    before = load(known, after.name)
    places = proposed_places(before, after, migrating.places)
    aim = RehearseMove(after.name, text, places, migrating.spread_ms)
    counts = await keeper.ask(tenant, aim)
    return Preview(
        after.name,
        before.version,
        after.version,
        places,
        differences(before, after),
        lines_of_move(counts),
        await keeper.compare(tenant, known, text),
        looked.lines,
        looked.unexamined,
    )


@get("/v1/scenarios", guards=[operator_only])
async def get_scenarios(request: _Request, name: _NameQuery = "") -> Versions:
    """List versions of scenarios, with who published them and why."""
    desk, tenant = keeper_of(request).versions, tenant_of(request)
    return Versions(desk.versions(tenant, name), desk.paused(tenant))


@get("/v1/scenarios/{name:str}", guards=[operator_only])
async def get_scenario(
    request: _Request,
    name: FromPath[str],
    version: Annotated[
        str, QueryParameter(max_length=16, description="Default: the current.")
    ] = "",
) -> ScenarioView:
    """Give the text of a published scenario."""
    desk, tenant = keeper_of(request).versions, tenant_of(request)
    text = desk.text(tenant, name, version)
    if text is None:
        raise ProblemError(problem(404, "not-found", "There is no such version."))
    return ScenarioView(name, load(text, name).version, text)


@get("/v1/scenarios/{name:str}/journeys", guards=[operator_only])
async def get_journeys(request: _Request, name: FromPath[str]) -> Journeys:
    """Count the journeys of a scenario by version and step. Looks at every contact."""
    counts = await keeper_of(request).ask(tenant_of(request), CountJourneys(name))
    steps = []
    for label, number in sorted(counts.items()):
        version, _, step = label.partition("\0")
        steps.append(JourneyCount(version, step, number))
    return Journeys(name, steps)


@post(
    "/v1/scenarios/{name:str}/journeys",
    status_code=200,
    opt={"body": wire.EnterIn, "many": True},
)
async def post_journeys(request: _Request, name: FromPath[str]) -> Results:
    """Let contacts enter a scenario that has an entry `by: api` or `by: list`: one, an array, or lines."""
    edge, tenant = edge_of(request), tenant_of(request)
    body, media_type = await request.body(), request.headers.get("content-type", "")
    decoder = msgspec.json.Decoder(wire.EnterIn)
    found = decode_items(body, media_type, decoder, edge.config.http.batch_max)
    now = time.time_ns() // 1_000_000
    arrivals = [
        Arrival(
            tenant,
            item.contact,
            f"enter\x1f{name}\x1f{item.id or secrets.token_hex(16)}",
            now,
            EnterJourney(name, item.by, item.data),
        )
        for item in found.items
    ]
    answers = await edge.intake.answered(edge.backend.admit(arrivals)) if arrivals else []
    return Results(
        [
            ItemOutcome(item.id or "", answer.status, answer.reason)
            for item, answer in zip(found.items, answers, strict=True)
        ]
    )


@post(
    "/v1/scenarios/{name:str}/rollback",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.RollbackIn, "optional": True},
)
async def rollback_scenario(request: _Request, name: FromPath[str]) -> Published:
    """Make an older version current again."""
    asked, author = await asked_of(request, wire.RollbackIn)
    desk = keeper_of(request).versions
    return desk.rollback(tenant_of(request), name, asked.version, asked.migrating(), author)


@post(
    "/v1/scenarios/{name:str}/migrate",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.MigrateIn, "optional": True},
)
async def migrate_scenario(request: _Request, name: FromPath[str]) -> RunList | Preview:
    """Choose what becomes of contacts under way of other versions; `preview` counts, and changes nothing."""
    asked, author = await asked_of(request, wire.MigrateIn)
    keeper, tenant = keeper_of(request), tenant_of(request)
    if asked.preview:
        target = keeper.versions.scenario(tenant, name, asked.version)
        text = keeper.versions.text(tenant, name, target.version) or ""
        aim = RehearseMove(name, text, asked.places, asked.spread_ms)
        moves = lines_of_move(await keeper.ask(tenant, aim))
        return Preview(name, "", target.version, asked.places, [], moves)
    run = keeper.versions.migrate(tenant, name, asked.migrating(), asked.version, author)
    return RunList([run] if run is not None else [])


@post(
    "/v1/scenarios/{name:str}/pause",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.ByCommand, "optional": True},
)
async def pause_scenario(request: _Request, name: FromPath[str]) -> Versions:
    """Let a scenario stand still: no entries, no waits that end, no mail."""
    _, author = await asked_of(request, wire.ByCommand)
    desk, tenant = keeper_of(request).versions, tenant_of(request)
    desk.pause(tenant, name, author)
    return Versions([], desk.paused(tenant))


@post(
    "/v1/scenarios/{name:str}/resume",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.ResumeIn, "optional": True},
)
async def resume_scenario(request: _Request, name: FromPath[str]) -> Run:
    """End a pause; what came due in it is due now, spread over a time."""
    asked, author = await asked_of(request, wire.ResumeIn)
    desk = keeper_of(request).versions
    return desk.resume(tenant_of(request), name, asked.spread_ms, author)


# ---- explaining


@get("/v1/contacts/{contact:str}/decisions", guards=[operator_only])
async def get_decisions(
    request: _Request,
    contact: FromPath[str],
    since: Annotated[int, QueryParameter(ge=0, description="Not before this time, ms.")] = 0,
    journey: Annotated[
        str, QueryParameter(max_length=32, description="About this journey alone.")
    ] = "",
) -> Decisions:
    """Tell what was decided about a contact: version, values, branch, random draw of each decision."""
    try:
        related = bytes.fromhex(journey)
    except ValueError:
        raise InputError(f"`{journey}` is no journey's id") from None
    key = contact_key(tenant_of(request), contact_of(request, contact))
    return Decisions(contact, await keeper_of(request).decisions(key, since, related))


# ---- runs


@get("/v1/runs", guards=[operator_only])
async def get_runs(request: _Request) -> RunList:
    """List runs over many contacts, oldest first."""
    tenant = tenant_of(request)
    runs = keeper_of(request).versions.runs.all()
    return RunList([run for run in runs if run.tenant == tenant])


@get("/v1/runs/{run:str}", guards=[operator_only])
async def get_run(request: _Request, run: FromPath[str]) -> Run:
    """Tell how a run stands."""
    return _run_of(request, run)


def _run_of(request: _Request, identity: str) -> Run:
    run = keeper_of(request).versions.runs.get(identity)
    if run.tenant != tenant_of(request):
        raise InputError(f"there is no run {identity!r}")
    return run


@post(
    "/v1/runs/{run:str}/revert",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.ByCommand, "optional": True},
)
async def revert_run(request: _Request, run: FromPath[str]) -> Run:
    """Move back the journeys that a run has moved, but for those that have gone on since."""
    _, author = await asked_of(request, wire.ByCommand)
    return keeper_of(request).versions.revert(tenant_of(request), run, author)


@post(
    "/v1/runs/{run:str}/{action:str}",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.ByCommand, "optional": True},
)
async def steer_run(
    request: _Request, run: FromPath[str], action: FromPath[Literal["pause", "resume", "cancel"]]
) -> Run:
    """Pause, resume or cancel a run."""
    _, author = await asked_of(request, wire.ByCommand)
    known = _run_of(request, run)
    return keeper_of(request).versions.steer(known, action, author)


# ---- segments


@get("/v1/segments", guards=[operator_only])
async def get_segments(request: _Request) -> Segments:
    """List segments, with how many contacts are in each."""
    keeper, tenant = keeper_of(request), tenant_of(request)
    return Segments(
        [
            SegmentView(
                one.name,
                one.version,
                one.when,
                one.description,
                keeper.counting.segment(tenant, one.name),
            )
            for one in keeper.versions.segments(tenant)
        ]
    )


@post("/v1/segments", status_code=200, guards=[operator_only], opt={"body": wire.SegmentIn})
async def post_segment(request: _Request) -> RunList:
    """Publish a segment; the run looks at every contact. None: it was current already."""
    asked, author = await asked_of(request, wire.SegmentIn)
    desk = keeper_of(request).versions
    run = desk.publish_segment(tenant_of(request), asked.text, asked.file, author)
    return RunList([run] if run is not None else [])


@post(
    "/v1/segments/refresh",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.ByCommand, "optional": True},
)
async def refresh_segments(request: _Request) -> Run:
    """Look at every contact anew: what the passing of time alone has changed shows then."""
    _, author = await asked_of(request, wire.ByCommand)
    return keeper_of(request).versions.refresh_segments(tenant_of(request), author)


@post("/v1/segments/recount", status_code=200, guards=[operator_only])
async def recount_segments(request: _Request) -> Done:
    """Count all segments anew over snapshots of the stores, in a process of its own; takes a while."""
    return await keeper_of(request).recount(tenant_of(request))


@post("/v1/segments/count", status_code=200, guards=[operator_only], opt={"body": wire.CountIn})
async def count_members(request: _Request) -> Members:
    """Count the contacts for whom a condition holds. Looks at every contact."""
    asked = await read_body(request, wire.CountIn)
    load_segment(f"segment: asked\nwhen: {msgspec.json.encode(asked.when).decode()}\n", "when")
    counts = await keeper_of(request).ask(tenant_of(request), CountMembers(asked.when))
    inside = counts.get("in", 0)
    return Members(inside, inside + counts.get("out", 0))


# ---- campaigns


@get("/v1/campaigns", guards=[operator_only])
async def get_campaigns(request: _Request) -> CampaignList:
    """List campaigns."""
    records = keeper_of(request).campaigns.all(tenant_of(request))
    lines = [
        CampaignLine(one.campaign.name, one.state, one.paused, one.campaign.segment, one.start_at)
        for one in records
    ]
    return CampaignList(lines)


@post("/v1/campaigns", status_code=200, guards=[operator_only], opt={"body": wire.CampaignIn})
async def post_campaign(request: _Request) -> CampaignReport:
    """Create a campaign, or replace one that wasn't started."""
    asked, author = await asked_of(request, wire.CampaignIn)
    desk, tenant = keeper_of(request).campaigns, tenant_of(request)
    record = desk.create(tenant, asked.text, asked.file, author)
    return await with_outlook(request, desk.report(tenant, record.campaign.name))


@get("/v1/campaigns/{name:str}", guards=[operator_only])
async def get_campaign(request: _Request, name: FromPath[str]) -> CampaignReport:
    """Tell what a campaign came to, so far or in the end."""
    return await with_outlook(
        request, keeper_of(request).campaigns.report(tenant_of(request), name)
    )


@post(
    "/v1/campaigns/{name:str}/test",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.TestIn},
)
async def test_campaign(request: _Request, name: FromPath[str]) -> Tested:
    """Send each variant now to some contacts or addresses, outside of the campaign and its counts."""
    asked, tenant = await read_body(request, wire.TestIn), tenant_of(request)
    record = keeper_of(request).campaigns.get(tenant, name)
    edge = edge_of(request)
    mark = asked.id or secrets.token_hex(8)
    messages: dict[str, str] = {}
    refused: dict[str, str] = {}
    for variant, template in record.campaign.templates().items():
        for to in asked.to:
            ask = _test_request(record, tenant, to, variant, template, mark)
            [told] = await edge.intake.answered(edge.backend.send([ask]))
            if told.status == "refused":
                refused[f"{to} {variant}"] = told.reason
            else:
                messages[f"{to} {variant}"] = told.message_id.hex()
    if not messages and refused:
        raise RefusedError("; ".join(refused.values()))
    return Tested(messages, refused)


def _test_request(
    record: CampaignRecord, tenant: str, to: str, variant: str, template: str, mark: str
) -> SendRequest:
    key = f"test\x1f{record.campaign.name}\x1f{variant}\x1f{mark}"
    body = SendDirect(
        message_id=derive(contact_key(tenant, to), b"direct", tenant, key),
        template=template,
        variables={"event": {}, "journey": {"scenario": record.campaign.scenario, "step": variant}},
        address=to if "@" in to else "",
    )
    return SendRequest(tenant, f"{key}\x1f{to}", mark.encode(), (Addressee(to, body),))


@post(
    "/v1/campaigns/{name:str}/{action:str}",
    status_code=200,
    guards=[operator_only],
    opt={"body": wire.StartIn, "optional": True},
)
async def steer_campaign(
    request: _Request,
    name: FromPath[str],
    action: FromPath[Literal["start", "pause", "resume", "cancel"]],
) -> CampaignReport:
    """Start, pause, resume or cancel a campaign. One that preflight blocks starts only with `override`."""
    asked, author = await asked_of(request, wire.StartIn)
    desk, tenant = keeper_of(request).campaigns, tenant_of(request)
    match action:
        case "start":
            author = await let_through(keeper_of(request), tenant, name, asked.override, author)
            desk.start(tenant, name, author)
        case "pause":
            desk.pause(tenant, name, author)
        case "resume":
            desk.resume(tenant, name, author)
        case "cancel":
            desk.cancel(tenant, name, author)
    return await with_outlook(request, desk.report(tenant, name))


PLANNING_HANDLERS = (
    post_scenario,
    get_scenarios,
    get_scenario,
    get_journeys,
    post_journeys,
    get_decisions,
    rollback_scenario,
    migrate_scenario,
    pause_scenario,
    resume_scenario,
    get_runs,
    get_run,
    revert_run,
    steer_run,
    get_segments,
    post_segment,
    refresh_segments,
    recount_segments,
    count_members,
    get_campaigns,
    post_campaign,
    get_campaign,
    test_campaign,
    steer_campaign,
)
