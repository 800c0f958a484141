"""One address of the suppression list, as an entity of the control partition.

    nobody ──Suppress──▶ suppressed ──Lift, or the last entry expires──▶ nobody
       └──SoftBounce──▶ counted ──k within the window──▶ suppressed

One entry for each scope. Each change of what holds is emitted as a `Change`: all that holds for the address from then
on. An address without entries and counts is gone.
"""

from __future__ import annotations

__all__ = (
    "CHANNEL",
    "SUPPRESSION",
    "Change",
    "Forget",
    "Lift",
    "SoftBounce",
    "Suppress",
    "SuppressedAddress",
    "SuppressionMachine",
    "address_key",
    "digest_of_key",
)

from typing import assert_never

import msgspec

from deliverability.suppression.entry import Entry, outranks
from engine.keyspace import HASH_BYTES, EntityKey
from engine.machine import At, Context, Effect, Emit, Place, Record, Transition, Wake

SUPPRESSION = 0x73  # s
CHANNEL = "suppression"
SOFT_KEPT_MAX = 32  # failures remembered of an address; the oldest goes first
_MIDDLE = bytes((SUPPRESSION, 0))  # kind, no tenant: an address belongs to nobody


def address_key(digest: bytes) -> EntityKey:
    """Make the key of an address; keys sort as the digests do."""
    return EntityKey(digest[:HASH_BYTES] + _MIDDLE + digest)


def digest_of_key(key: bytes) -> bytes:
    """Give the digest that a key names."""
    return key[HASH_BYTES + len(_MIDDLE) :]


class Suppress(msgspec.Struct, frozen=True, tag="suppress", array_like=True):
    """Put an address on the list. The graver reason of a scope stays; of equals the one that holds longer."""

    entry: Entry
    sealed: bytes = b""  # the address, for the list's owner only (`Hasher.seal`)


class Lift(msgspec.Struct, frozen=True, tag="lift", array_like=True):
    """Take an address off the list. `scope` "" and `reasons` () mean all."""

    scope: str = ""
    reasons: tuple[str, ...] = ()


class SoftBounce(msgspec.Struct, frozen=True, tag="soft", array_like=True):
    """A failure that says nothing final of the address. `entry` is what it becomes with `times` within `window` ms."""

    entry: Entry
    cause: str
    times: int
    window: int


class Forget(msgspec.Struct, frozen=True, tag="forget", array_like=True):
    """Whose address it is, is erased: it stays suppressed by its hash alone."""


class Soft(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A failure that is remembered."""

    at: int
    cause: str
    scope: str


class SuppressedAddress(msgspec.Struct, frozen=True, array_like=True):
    """What is known of an address."""

    entries: tuple[Entry, ...] = ()
    soft: tuple[Soft, ...] = ()
    sealed: bytes = b""


class Change(msgspec.Struct, frozen=True, array_like=True):
    """All that holds for an address from now on; nothing: it may be sent to again."""

    digest: bytes
    entries: tuple[Entry, ...]


Input = Suppress | Lift | SoftBounce | Forget | Wake
_NOBODY = SuppressedAddress()
_SOFT_KEPT_MS = 400 * 86_400_000


class SuppressionMachine:
    """Decides what is said about addresses."""

    kind = SUPPRESSION
    schema = 1
    state_type = SuppressedAddress
    input_type = Input

    def tally(self, state: SuppressedAddress) -> None:
        """Addresses aren't messages."""
        del state

    def decide(self, state: SuppressedAddress | None, body: Input, context: Context) -> Transition:
        """Decide one input. Total and deterministic."""
        before = state or _NOBODY
        now = context.now
        alive = tuple(entry for entry in before.entries if entry.holds(now))
        soft, sealed = before.soft, before.sealed
        match body:
            case Suppress(entry=entry):
                after = _added(alive, entry) if entry.holds(now) else alive
                sealed = sealed or body.sealed
            case Forget():
                after, sealed = alive, b""
            case Lift(scope=scope, reasons=reasons):
                after = tuple(one for one in alive if not _meant(one, scope, reasons))
                soft = () if len(after) < len(alive) else soft
            case SoftBounce(entry=entry, cause=cause, times=times, window=window):
                soft = _remembered(soft, Soft(entry.created, cause, entry.scope))
                near = [s for s in soft if _counts(s, entry, cause, window)]
                after = _added(alive, entry) if len(near) >= times else alive
            case Wake():
                after = alive
                soft = tuple(one for one in soft if one.at > now - _SOFT_KEPT_MS)
            case _:
                assert_never(body)
        return _concluded(before, SuppressedAddress(after, soft, sealed), context)


def _added(entries: tuple[Entry, ...], new: Entry) -> tuple[Entry, ...]:
    old = next((entry for entry in entries if entry.scope == new.scope), None)
    if old is None:
        return (*entries, new)
    if not outranks(new, old):
        return entries
    return tuple(new if entry is old else entry for entry in entries)


def _meant(entry: Entry, scope: str, reasons: tuple[str, ...]) -> bool:
    return (not scope or entry.scope == scope) and (not reasons or entry.reason in reasons)


def _counts(soft: Soft, entry: Entry, cause: str, window: int) -> bool:
    near = entry.created - window < soft.at <= entry.created
    return near and soft.cause == cause and soft.scope == entry.scope


def _remembered(soft: tuple[Soft, ...], new: Soft) -> tuple[Soft, ...]:
    return tuple(sorted((*soft, new), key=lambda one: one.at))[-SOFT_KEPT_MAX:]


def _concluded(before: SuppressedAddress, after: SuppressedAddress, context: Context) -> Transition:
    effects: list[Effect] = []
    if after.entries != before.entries:
        digest = digest_of_key(context.key)
        effects.append(Emit(CHANNEL, Change(digest, after.entries)))
        reasons = sorted({entry.reason for entry in after.entries})
        effects.append(Record("suppression_changed", {"reasons": reasons}))
    if not after.entries and not after.soft:
        return Transition(None, None, effects)
    return Transition(after, _place(after, context.now), effects)


def _place(state: SuppressedAddress, now: int) -> Place | None:
    """Wake it when the first entry expires, or when its failures are forgotten."""
    times = [entry.expires for entry in state.entries if entry.expires]
    if state.soft:
        times.append(max(one.at for one in state.soft) + _SOFT_KEPT_MS)
    return At(max(min(times), now + 1)) if times else None
