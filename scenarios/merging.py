"""Two contacts that are one person: the former becomes an alias, the survivor has what both had.

    ─Merge─▶ former ─MayJoin─▶ survivor ─Joined | NotJoined─▶ former ─Absorb─▶ survivor

The former asks first, so that no two can become aliases of each other; who is about to merge, is an alias, is erased or
was merged into the former refuses. What the former hands over and its becoming an alias are one commit; the kernel's
Tell brings it over once. From then on an alias gives every input to its survivor, ids of journeys rewritten.

Mail of journeys that isn't begun is called back, and sent anew by the survivor once it is known that it wasn't begun,
so that consent, caps and quiet hours are those of the one person; nothing goes twice. A message of the API that is on
its way stays with the alias.
"""

from __future__ import annotations

__all__ = (
    "Absorb",
    "Joined",
    "MayJoin",
    "Merge",
    "NotJoined",
    "absorb",
    "ask_to_join",
    "carried_on",
    "hand_over",
    "join_or_refuse",
    "merged_journey",
    "of_alias",
    "refuse_to_join",
    "take_absorbed",
)

from typing import Any, Final

import msgspec

from engine.ids import derive
from engine.keyspace import contact_key, message_key, name_of, tenant_of
from engine.machine import Context, Effect, Record, Tell, Transition, Wake
from engine.vocabulary import (
    CallAnswered,
    Cancel,
    Consent,
    Erase,
    MessageClass,
    OutcomeNotice,
    Send,
)
from scenarios.cel.functions import MAILS_MAX
from scenarios.coupons import CodeGiven, ForgetHolder, NoCode, code_key
from scenarios.draft import Draft
from scenarios.migration import MoveBack, MoveJourneys
from scenarios.program import Sending
from scenarios.runs import (
    EnterJourney,
    LookAnew,
    ReleaseHeld,
    StopJourneys,
    campaign_news,
)
from scenarios.sending import address_of, domain_of
from scenarios.state import (
    COUPONS_MAX,
    JOURNEYS_MAX,
    Contact,
    Journey,
    JourneySend,
    Past,
    Points,
    Seen,
    Trial,
)

FORMERS_MAX: Final = 1_000
_RECENT_MAX: Final = 10
_TIMES_MAX: Final = 500
_MERGED: Final = "merged"
_CLASSES: Final[tuple[MessageClass, ...]] = (0, 1, 2)


class Merge(msgspec.Struct, frozen=True, array_like=True, tag="merge"):
    """Input of the former contact: become one with another of the tenant."""

    into: str
    reason: str = ""


class MayJoin(msgspec.Struct, frozen=True, array_like=True, tag="may_join"):
    """Former to survivor: may I, with those who were merged into me?"""

    former: str
    formers: tuple[str, ...] = ()


class Joined(msgspec.Struct, frozen=True, array_like=True, tag="joined"):
    """Survivor to former: you may. An alias that was asked names its survivor."""

    survivor: str


class NotJoined(msgspec.Struct, frozen=True, array_like=True, tag="not_joined"):
    """Survivor to former: you may not."""

    survivor: str
    reason: str


class Absorb(msgspec.Struct, frozen=True, array_like=True, tag="absorb"):
    """Former to survivor: all that I had."""

    former: str
    state: Contact


def merged_journey(survivor: bytes, journey: bytes) -> bytes:
    """Derive the id that a journey of a former contact has with its survivor (whose key is given)."""
    return derive(survivor, b"merged", survivor, journey)


# ---- the former


def ask_to_join(draft: Draft, body: Merge) -> None:
    """Ask the survivor. A second merge, while the first isn't answered, is refused."""
    me = name_of(draft.context.key).decode()
    reason = ""
    if body.into == me:
        reason = "itself"
    elif body.into in draft.formers:
        reason = "loop"
    elif draft.merging and draft.merging != body.into:
        reason = "busy"
    if reason:
        draft.record("merge_refused", into=body.into, reason=reason)
        return
    draft.merging = body.into
    draft.record("merge_asked", into=body.into, reason=body.reason)
    ask = MayJoin(me, draft.formers)
    draft.effects.append(Tell(contact_key(draft.tenant, body.into), ask))


def hand_over(draft: Draft, body: Joined, known: Contact) -> Transition | None:
    """Become an alias, and hand everything over; None: this isn't what was asked for any more.

    `known`: what is handed over, with what the suppression list says of the person.
    """
    if not draft.merging:
        return None
    me = name_of(draft.context.key).decode()
    survivor = contact_key(draft.tenant, body.survivor)
    directs = draft.directs
    for message_id in draft.sends:
        draft.tell_message(message_id, Cancel(_MERGED))
    for journey in draft.journeys:
        draft.record(
            "journey_merged",
            journey=journey.id,
            scenario=journey.scenario,
            into=body.survivor,
            there=merged_journey(survivor, journey.id),
        )
    for one in draft.coupons:
        forget = ForgetHolder(me, body.survivor)
        draft.effects.append(Tell(code_key(draft.tenant, one.pool, one.code), forget))
    before = draft.contact
    state = msgspec.structs.replace(known, directs={}, merging="")
    draft.effects.append(Tell(survivor, Absorb(me, state)))
    draft.record("merged", into=body.survivor)
    alias = Contact(merged_into=body.survivor)
    if directs:  # what is on its way asks here, with what was known here
        alias = msgspec.structs.replace(
            alias,
            attributes=before.attributes,
            consents=before.consents,
            suppressions=before.suppressions,
            directs=directs,
            exposures=before.exposures,
        )
    return Transition(alias, None, draft.effects)


# ---- the alias


def of_alias(state: Contact, body: Any, context: Context) -> Transition:
    """Give an input to the survivor, as what it is there; what only looks at stored contacts passes an alias by."""
    survivor = contact_key(tenant_of(context.key), state.merged_into)
    match body:
        case Merge(into=into):
            same = into == state.merged_into
            record = Record("merge_repeated" if same else "merge_refused", {"into": into})
            return Transition(state, None, (record,))
        case CallAnswered() | CodeGiven() | NoCode():
            journey = merged_journey(survivor, body.journey)
            body = msgspec.structs.replace(body, journey=journey)
        case EnterJourney(source="campaign"):
            news = campaign_news(context.key, context.now, body.scenario, "refused", _MERGED)
            return Transition(state, None, [*news])
        case EnterJourney(source="schedule") | Joined() | NotJoined() | Wake():
            return Transition(state)  # the survivor has its own
        case MoveJourneys() | MoveBack() | StopJourneys() | LookAnew() | ReleaseHeld():
            return Transition(state)
        case Erase():
            cancels: list[Effect] = [
                Tell(message_key(tenant_of(context.key), one), Cancel("erased"))
                for one in state.directs
            ]
            bare = Contact(merged_into=state.merged_into)
            return Transition(bare, None, [*cancels, Tell(survivor, body)])
        case _:
            pass
    return Transition(state, None, (Tell(survivor, body),))


def refuse_to_join(body: MayJoin, context: Context, reason: str) -> Tell:
    """Refuse a contact that wants to merge into one that can't."""
    me = name_of(context.key).decode()
    return Tell(contact_key(tenant_of(context.key), body.former), NotJoined(me, reason))


def take_absorbed(body: Absorb, context: Context) -> list[Effect]:
    """Let go of what comes to a contact that was erased meanwhile: nothing of it may be sent any more."""
    tenant = tenant_of(context.key)
    me = name_of(context.key).decode()
    effects: list[Effect] = [
        Tell(message_key(tenant, one), Cancel("erased")) for one in body.state.sends
    ]
    effects += [
        Tell(code_key(tenant, one.pool, one.code), ForgetHolder(me)) for one in body.state.coupons
    ]
    return effects


# ---- the survivor


def join_or_refuse(draft: Draft, body: MayJoin) -> None:
    """Let a contact merge into this one, unless that would be a loop, or this one is about to go itself."""
    me = name_of(draft.context.key).decode()
    reason = ""
    if draft.merging:
        reason = "busy"
    elif me == body.former or me in body.formers:
        reason = "loop"
    elif len(draft.formers) >= FORMERS_MAX:
        reason = "too_many"
    former = contact_key(draft.tenant, body.former)
    if reason:
        draft.record("merge_refused", former=body.former, reason=reason)
        draft.effects.append(Tell(former, NotJoined(me, reason)))
        return
    known = dict.fromkeys((*draft.formers, body.former, *body.formers))
    draft.formers = tuple(known)
    draft.effects.append(Tell(former, Joined(me)))


def absorb(draft: Draft, body: Absorb) -> None:
    """Take over what a former contact had."""
    other = body.state
    _absorb_facts(draft, other)
    _absorb_permissions(draft, other)
    moved = _absorb_journeys(draft, other)
    for message_id, send in other.sends.items():
        journey = merged_journey(draft.context.key, send.journey)
        carried = msgspec.structs.replace(send, journey=journey, carried=True)
        draft.sends = {**draft.sends, message_id: carried}
    draft.record(
        "contact_absorbed",
        former=body.former,
        journeys=moved,
        mails=len(other.sends),
        events=sum(other.counts.values()),
    )


def _absorb_facts(draft: Draft, other: Contact) -> None:
    """Attributes of the survivor win; counts and scores add up; of times, tags and marks it is the union."""
    draft.attributes = {**other.attributes, **draft.attributes}
    counts = dict(draft.counts)
    for event, number in other.counts.items():
        counts[event] = counts.get(event, 0) + number
    draft.counts = counts
    times = dict(draft.times)
    for event, some in other.times.items():
        times[event] = tuple(sorted((*times.get(event, ()), *some)))[-_TIMES_MAX:]
    draft.times = times
    scores = dict(draft.scores)
    for name, points in other.scores.items():
        mine = scores.get(name)
        value = points.at(draft.now) + (mine.at(draft.now) if mine else 0.0)
        half_life = mine.half_life_ms if mine else points.half_life_ms
        scores[name] = Points(value, draft.now, half_life)
    draft.scores = scores
    tags = dict(other.tags)
    for name, at in draft.tags.items():
        tags[name] = min(at, tags.get(name, at))
    draft.tags = tags
    draft.arms = {**other.arms, **draft.arms}
    trials: dict[str, Trial] = {**other.trials, **draft.trials}
    for key in other.trials.keys() & draft.trials.keys():
        if other.trials[key].variant != draft.trials[key].variant:
            draft.record("variant_kept", experiment=key, variant=draft.trials[key].variant)
    draft.trials = trials
    recent = dict(draft.recent)
    for event, seen in other.recent.items():
        # of another order: a look-back over time sees them, one since the entry doesn't
        before = tuple(Seen(0, one.at, one.data) for one in seen)
        recent[event] = (*before, *recent.get(event, ()))[-_RECENT_MAX:]
    draft.recent = recent
    mails = sorted((*other.mails, *draft.mails), key=lambda one: one.at)
    draft.mails = tuple(mails)[-MAILS_MAX:]
    if other.hours:
        own = draft.hours or (0,) * 24
        draft.hours = tuple(map(sum, zip(own, other.hours, strict=True)))
    coupons = sorted((*other.coupons, *draft.coupons), key=lambda one: one.at)
    draft.coupons = tuple(coupons)[-COUPONS_MAX:]
    past = dict(draft.past)
    for name, one in other.past.items():
        had = past.get(name)
        past[name] = (
            one if had is None else Past(had.opened + one.opened, max(had.opened_at, one.opened_at))
        )
    draft.past = past


def _absorb_permissions(draft: Draft, other: Contact) -> None:
    """The strictest consent wins; exposure to caps, and what is suppressed, is the union."""
    consents = dict(draft.consents)
    for topic, theirs in other.consents.items():
        mine = consents.get(topic)
        consents[topic] = theirs if mine is None else _strictest(mine, theirs)
    draft.consents = consents
    suppressions = dict(draft.suppressions)
    for stream, one in other.suppressions.items():
        held = suppressions.get(stream)
        suppressions[stream] = one if held is None or one.at < held.at else held
    draft.suppressions = suppressions
    known = {one.message_id for one in draft.exposures}
    more = [one for one in other.exposures if one.message_id not in known]
    draft.exposures = (*draft.exposures, *more)


def _strictest(one: Consent, other: Consent) -> Consent:
    """A withdrawal wins over a grant, whichever is newer: only a grant after both lifts it."""
    if one.granted == other.granted:
        return max(one, other, key=lambda consent: consent.at)
    withdrawn = other if one.granted else one
    return msgspec.structs.replace(withdrawn, at=max(one.at, other.at))


def _absorb_journeys(draft: Draft, other: Contact) -> int:
    """Of one scenario and key the older journey stays; all others go on here, with their timers."""
    moved = 0
    for journey in other.journeys:
        mine = next(
            (
                one
                for one in draft.journeys
                if (one.scenario, one.key) == (journey.scenario, journey.key)
            ),
            None,
        )
        here = _moved(draft, journey)
        if mine is not None and mine.opened_at <= journey.opened_at:
            _lose(draft, here, "merged")
            continue
        if mine is not None:
            draft.end(mine, "merged")
        if len(draft.journeys) >= JOURNEYS_MAX:
            _lose(draft, here, "too_many_journeys")
            continue
        draft.journeys.append(here)
        moved += 1
    return moved


def _moved(draft: Draft, journey: Journey) -> Journey:
    identity = merged_journey(draft.context.key, journey.id)
    return msgspec.structs.replace(journey, id=identity, ordinal=draft.ordinal)


def _lose(draft: Draft, journey: Journey, reason: str) -> None:
    draft.record("journey_ended", journey=journey.id, scenario=journey.scenario, reason=reason)
    draft.tell_campaign(journey.scenario, "ended", reason)


def carried_on(draft: Draft, notice: OutcomeNotice) -> None:
    """Send anew what was called back from a former contact, now that it is known that it wasn't begun."""
    send = draft.sends.get(notice.message_id)
    if send is None or not send.carried or not notice.final:
        return
    if notice.kind != "cancelled" or notice.cause == "queue_cancel":
        return
    body = _again(draft, send)
    if body is None:
        draft.record("send_skipped", journey=send.journey, step=send.step, reason="merged")
        return
    identity = derive(draft.context.key, b"merged", draft.context.key, notice.message_id)
    draft.add_send(identity, msgspec.structs.replace(send, carried=False))
    draft.tell_message(identity, body)
    draft.record(
        "send_decided", journey=send.journey, step=send.step, message=identity, due=draft.now
    )


def _again(draft: Draft, send: JourneySend) -> Send | None:
    """Make the message anew; None: the version is lost, or there is no address."""
    compiled = draft.view.version(send.scenario, send.version)
    at = compiled.places.get(send.step) if compiled is not None else None
    step = compiled.program[at] if compiled is not None and at is not None else None
    domain = domain_of(address_of(draft))
    if not isinstance(step, Sending) or not domain:
        return None
    model = step.send
    return Send(
        contact=draft.context.key,
        template=model.template,
        stream=model.stream,
        domain=domain,
        due=draft.now,
        expires=draft.now + model.expires_ms if model.expires_ms else 0,
        message_class=_CLASSES[model.message_class],
        scenario=send.scenario,
        version=send.version,
        step=send.step,
        journey=send.journey,
        topic=model.topic,
        opened_by=draft.context.input_id,
    )
