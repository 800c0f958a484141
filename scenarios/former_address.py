"""What the suppression list says of a former contact's address, and goes with the person to another address.

The list knows addresses. That a mailbox is dead, a trap or a role says nothing of the person; that somebody complained,
left, or was put there by hand does: a merge must not be a way around it.
"""

from __future__ import annotations

__all__ = ("person_objects",)

from collections.abc import Callable
from typing import Final

import msgspec

from engine.vocabulary import Consent
from scenarios.draft import Draft
from scenarios.model import Send, walk
from scenarios.sending import address_of
from scenarios.state import Contact, Suppression

_OF_PERSONS: Final = frozenset({"complaint", "unsubscribe", "manual"})
_FORMER: Final = "former address"


def person_objects(
    draft: Draft, suppressed: Callable[[str, str, str, str, int], str] | None
) -> Contact:
    """Give the contact, as it is to be handed over, with what its address is suppressed for because of the person.

    Asked of all streams and topics that are published or consented to. `suppressed` answers "scope: reason".
    """
    contact, address = draft.contact, address_of(draft)
    if suppressed is None or not address:
        return contact
    suppressions, consents = dict(contact.suppressions), dict(contact.consents)
    for stream, topic in sorted(_asked_of(draft)):
        scope, _, reason = suppressed(draft.tenant, stream, topic, address, draft.now).partition(
            ": "
        )
        if reason not in _OF_PERSONS:
            continue
        kind = scope.partition("/")[0]
        if kind == "topic":
            consents[topic] = Consent(granted=False, at=draft.now, source=_FORMER)
        else:
            held = Suppression(f"{reason}, {_FORMER}", draft.now)
            suppressions.setdefault(stream if kind == "stream" else "", held)
    return msgspec.structs.replace(contact, suppressions=suppressions, consents=consents)


def _asked_of(draft: Draft) -> set[tuple[str, str]]:
    """Give the streams with their topics that mail may go on."""
    sends = {
        (step.stream, step.topic)
        for compiled in draft.view.current.values()
        for step in walk(compiled.scenario.steps)
        if isinstance(step, Send)
    }
    streams = {stream for stream, _ in sends} or {"marketing"}
    return sends | {(stream, topic) for stream in streams for topic in draft.consents}
