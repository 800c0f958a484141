"""The contact machine: one entity for each contact, with all of its journeys.

    nobody ──any input──▶ contact ──Erase──▶ tombstone

A contact has one place: `At(the first due time of its journeys)`, or none. On `Wake` it runs everything that is due.
An `Event` is counted, goes to the journeys that wait for it, and opens new ones. A `send` step tells the message, which
asks `MaySend` when it could go and reports `OutcomeNotice`. A `webhook` step puts a call on the feed, and stands
until `CallAnswered`. A tombstone acknowledges all, drops it, and counts.
"""

from __future__ import annotations

__all__ = ("ContactInput", "ContactMachine")

from typing import Any, assert_never

from engine.keyspace import CONTACT, message_key, name_of, tenant_of
from engine.machine import Context, Record, Tell, Transition, Wake
from engine.vocabulary import (
    CONSENT_AGAIN,
    CallAnswered,
    Cancel,
    Consent,
    ConsentAgain,
    ConsentGiven,
    ContactPut,
    Erase,
    Event,
    MarkSuppressed,
    MaySend,
    OutcomeNotice,
    Refuse,
    Send,
    SendDirect,
)
from scenarios.catalog import Views
from scenarios.coupons import CodeGiven, NoCode
from scenarios.dates import appoint, keep_appointments
from scenarios.draft import Draft
from scenarios.entry import enter_by_state, retime, take_event, watch_state
from scenarios.exposure import release_or_keep
from scenarios.former_address import person_objects
from scenarios.interpreter import take_answer, wake
from scenarios.membership import follow_segments
from scenarios.merging import (
    Absorb,
    Joined,
    MayJoin,
    Merge,
    NotJoined,
    absorb,
    ask_to_join,
    carried_on,
    hand_over,
    join_or_refuse,
    of_alias,
    refuse_to_join,
    take_absorbed,
)
from scenarios.migration import MoveBack, MoveJourneys
from scenarios.moving import move_back, move_journeys, release_held
from scenarios.opening import enter_by_run, open_started
from scenarios.permission import Suppressed, answer
from scenarios.reading_habits import note_delivered
from scenarios.runs import EnterJourney, LookAnew, ReleaseHeld, StopJourneys, campaign_news
from scenarios.sending import domain_of, send_direct
from scenarios.state import Contact, Suppression
from scenarios.taking import forget_codes, give_back

ContactInput = (
    Event
    | ContactPut
    | ConsentGiven
    | Erase
    | MarkSuppressed
    | SendDirect
    | MaySend
    | OutcomeNotice
    | MoveJourneys
    | MoveBack
    | EnterJourney
    | StopJourneys
    | LookAnew
    | ReleaseHeld
    | CallAnswered
    | CodeGiven
    | NoCode
    | Merge
    | MayJoin
    | Joined
    | NotJoined
    | Absorb
    | Wake
)

_OfRuns = MoveJourneys | MoveBack | EnterJourney | StopJourneys | LookAnew | ReleaseHeld

_NOBODY = Contact()


class ContactMachine:
    """Decides the inputs of contacts. Holds no state but a memo of the catalog.

    Args:
        suppressed: the suppression list in use; None: there is none.
    """

    kind = CONTACT
    schema = 1
    state_type: Any = Contact
    input_type: Any = ContactInput

    def __init__(self, suppressed: Suppressed | None = None) -> None:
        self._views = Views()
        self._suppressed = suppressed

    def tally(self, state: Contact) -> tuple[str, str] | None:  # noqa: ARG002
        """Contacts don't count in the law of messages."""
        return None

    def decide(self, state: Contact | None, body: ContactInput, context: Context) -> Transition:
        """Decide one input. Total and deterministic."""
        if state is None or state.erased_at or state.merged_into:
            early = _without_contact(state, body, context)
            if early is not None:
                return early
        draft = Draft(state or _NOBODY, context, self._views.of(context.catalog, context.key))
        match body:
            case Event():
                take_event(draft, body)
            case Wake():
                wake(draft)
                if draft.dates:
                    keep_appointments(draft)
            case MaySend():
                answer(draft, body, self._suppressed)
            case OutcomeNotice() | CallAnswered() | CodeGiven() | NoCode():
                _hear(draft, body)
            case ContactPut() | ConsentGiven() | MarkSuppressed() | SendDirect():
                _take_given(draft, body)
            case (
                MoveJourneys()
                | MoveBack()
                | EnterJourney()
                | StopJourneys()
                | LookAnew()
                | ReleaseHeld()
            ):
                _take_run(draft, body)
            case Erase():
                return _erase(draft, body)
            case Merge() | MayJoin() | Joined() | NotJoined() | Absorb():
                return _merge(draft, body, self._suppressed)
            case _:
                assert_never(body)
        if draft.contact.merged_into:
            return _still_alias(draft)
        return _conclude(draft, body if isinstance(body, Event) else None)


def _without_contact(
    state: Contact | None, body: ContactInput, context: Context
) -> Transition | None:
    """Answer for one that isn't there, is erased, or is an alias; None: it is decided as for any contact."""
    if state is None:
        asked = isinstance(body, (MaySend, OutcomeNotice, Wake, *_ONLY_WHO_EXISTS))
        return _nobody(body, context) if asked else None
    if state.erased_at:
        return _tombstone(state, body, context, tenant_of(context.key))
    return None if _of_direct(state, body) else of_alias(state, body, context)


def _take_given(
    draft: Draft, body: ContactPut | ConsentGiven | MarkSuppressed | SendDirect
) -> None:
    """Take what is said about the contact, or asked for it."""
    match body:
        case ContactPut():
            _put(draft, body)
        case ConsentGiven():
            _consent(draft, body)
        case MarkSuppressed():
            _suppress(draft, body)
        case SendDirect():
            send_direct(draft, body)
        case _:
            assert_never(body)


def _of_direct(state: Contact, body: ContactInput) -> bool:
    """Tell whether an alias answers itself: of messages that were on their way when it became one."""
    if isinstance(body, OutcomeNotice):
        return body.message_id in state.directs
    return isinstance(body, MaySend)


def _still_alias(draft: Draft) -> Transition:
    """Stay an alias; what it knew of its contact goes with the last of its messages."""
    state: Contact = draft.transition().state
    if not state.directs:
        state = Contact(merged_into=state.merged_into)
    return Transition(state, None, draft.effects)


def _merge(
    draft: Draft,
    body: Merge | MayJoin | Joined | NotJoined | Absorb,
    suppressed: Suppressed | None,
) -> Transition:
    """Become one with another contact, or take one in; nothing opens by that."""
    match body:
        case Merge():
            ask_to_join(draft, body)
        case MayJoin():
            join_or_refuse(draft, body)
        case Joined():
            done = hand_over(draft, body, person_objects(draft, suppressed))
            if done is not None:
                return done
        case NotJoined(survivor=survivor, reason=reason):
            draft.merging = ""
            draft.record("merge_refused", into=survivor, reason=reason)
        case Absorb():
            absorb(draft, body)
        case _:
            assert_never(body)
    return _conclude(draft, None, quiet=isinstance(body, Absorb))


_ONLY_WHO_EXISTS = (
    Joined,
    NotJoined,
    CallAnswered,
    CodeGiven,
    NoCode,
    MoveJourneys,
    MoveBack,
    StopJourneys,
    LookAnew,
    ReleaseHeld,
)


def _take_run(draft: Draft, body: _OfRuns) -> None:
    """Do what a run over many contacts asks."""
    match body:
        case MoveJourneys():
            move_journeys(draft, body)
        case MoveBack():
            move_back(draft, body)
        case EnterJourney():
            enter_by_run(draft, body)
        case StopJourneys():
            draft.stop(body.scenario, body.reason)
        case LookAnew():
            follow_segments(draft, everything=True, enter=body.enter)
            appoint(draft)
        case ReleaseHeld():
            release_held(draft, body)
        case _:
            assert_never(body)


def _conclude(draft: Draft, event: Event | None, *, quiet: bool = False) -> Transition:
    """Let everything follow that a change of the contact entails. With a historical event nothing opens."""
    quiet = quiet or (event is not None and event.historical)
    view = draft.view
    if "" in view.by_event and draft.contact is not _NOBODY and not quiet:
        enter_by_state(draft)
    if view.segments:
        follow_segments(draft, enter=not quiet)
    if view.dated and draft.attributes is not draft.contact.attributes:
        appoint(draft)
    if draft.starting:
        open_started(draft)
    if draft.journeys:
        if draft.attributes is not draft.contact.attributes:
            retime(draft)
        # an event has looked up the versions of all journeys, so that it's known whether one watches the state
        if view.watching or event is None or quiet:
            watch_state(draft)
    return draft.transition()


def _nobody(body: ContactInput, context: Context) -> Transition:
    """Answer what only a contact that exists should be asked."""
    tenant = tenant_of(context.key)
    if isinstance(body, CodeGiven):
        return Transition(None, None, give_back(tenant, context.key, body))
    if isinstance(body, MaySend):
        refuse = Refuse(body.attempt, "cancelled")
        return Transition(None, None, [Tell(message_key(tenant, body.message_id), refuse)])
    return Transition(None)


def _hear(draft: Draft, body: OutcomeNotice | CallAnswered | CodeGiven | NoCode) -> None:
    """Hear what came of a message, a call, or a question for a code."""
    if not isinstance(body, OutcomeNotice):
        take_answer(draft, body)
        return
    release_or_keep(draft, body)
    note_delivered(draft, body)
    carried_on(draft, body)
    if body.final:
        draft.settle(body.message_id)


def _put(draft: Draft, body: ContactPut) -> None:
    """Set attributes, unless a newer record version is already there."""
    if body.version is not None:
        if draft.record_version is not None and body.version < draft.record_version:
            draft.record("put_ignored", version=body.version, stored=draft.record_version)
            return
        draft.record_version = body.version
    for name, value in body.attributes.items():
        draft.set_attribute(name, value)


def _consent(draft: Draft, body: ConsentGiven) -> None:
    """The newest by its own time wins; of equals the withdrawal."""
    before = draft.consents.get(body.topic)
    if before is not None and (before.at > body.at or (before.at == body.at and body.granted)):
        draft.record("consent_ignored", topic=body.topic, at=body.at, stored=before.at)
        return
    consent = Consent(body.granted, body.at, body.source)
    draft.consents = {**draft.consents, body.topic: consent}
    if body.granted and before is not None and not before.granted:
        draft.emit(CONSENT_AGAIN, ConsentAgain(name_of(draft.context.key).decode(), body.topic))


def _suppress(draft: Draft, body: MarkSuppressed) -> None:
    """Suppress a stream; the first reason stays."""
    if body.stream not in draft.suppressions:
        suppression = Suppression(body.reason, draft.now)
        draft.suppressions = {**draft.suppressions, body.stream: suppression}


def _erase(draft: Draft, body: Erase) -> Transition:
    """Leave a tombstone: everything held is gone, and what is under way is cancelled."""
    for journey in draft.journeys:
        draft.record(
            "journey_ended", journey=journey.id, scenario=journey.scenario, reason="erased"
        )
        draft.tell_campaign(journey.scenario, "ended", "erased")
    for message_id in (*draft.sends, *draft.directs):
        draft.tell_message(message_id, Cancel("erased"))
    draft.effects += forget_codes(draft.tenant, draft.context.key, draft.contact)
    draft.record("contact_erased", reason=body.reason)
    return Transition(Contact(erased_at=max(draft.now, 1)), None, draft.effects)


def _tombstone(state: Contact, body: ContactInput, context: Context, tenant: str) -> Transition:
    """Acknowledge, drop and count; a message that asks is refused."""
    match body:
        case MaySend():
            refuse = Refuse(body.attempt, "erased")
            return Transition(state, None, [Tell(message_key(tenant, body.message_id), refuse)])
        case CodeGiven():
            return Transition(state, None, give_back(tenant, context.key, body))
        case MayJoin():
            return Transition(state, None, (refuse_to_join(body, context, "erased"),))
        case Absorb():
            return Transition(state, None, take_absorbed(body, context))
        case Merge(into=into):
            refused = Record("merge_refused", {"into": into, "reason": "erased"})
            return Transition(state, None, (refused,))
        case Joined() | NotJoined():
            return Transition(state)
        case OutcomeNotice() | CallAnswered() | NoCode() | Wake() | Erase():
            return Transition(state)
        case MoveJourneys() | MoveBack() | StopJourneys() | LookAnew() | ReleaseHeld():
            return Transition(state)
        case (
            Event()
            | ContactPut()
            | ConsentGiven()
            | MarkSuppressed()
            | SendDirect()
            | EnterJourney()
        ):
            dropped = Contact(erased_at=state.erased_at, dropped=state.dropped + 1)
            record = Record("dropped_after_erasure", {"input": type(body).__name__})
            if isinstance(body, SendDirect):
                told = _stillborn(body, context, tenant)
                return Transition(dropped, None, [*told, record])
            if isinstance(body, EnterJourney) and body.source == "campaign":
                told_of = campaign_news(
                    context.key, context.now, body.scenario, "refused", "erased"
                )
                return Transition(dropped, None, [*told_of, record])
            return Transition(dropped, None, [record])
        case _:
            assert_never(body)


def _stillborn(body: SendDirect, context: Context, tenant: str) -> list[Tell]:
    """Let a message to an erased contact exist, so that its id has a fate: cancelled."""
    key = message_key(tenant, body.message_id)
    send = Send(
        contact=context.key,
        template=body.template,
        stream=body.stream,
        domain=domain_of(body.address),
        due=body.due or context.now,
        expires=body.expires,
        message_class=body.message_class,
        step=body.campaign,
        pool=body.pool,
        opened_by=context.input_id,
    )
    return [Tell(key, send), Tell(key, Cancel("erased"))]
