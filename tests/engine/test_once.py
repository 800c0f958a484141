"""Idempotency keys: the target is told once, whoever asks how often and for what."""

from __future__ import annotations

from engine.keyspace import IDEMPOTENCY, contact_key, control_key
from engine.machine import Context, Record, Retired, Tell
from engine.once import KEPT_MS, Once, OnceMachine, OnceState
from engine.vocabulary import SendDirect
from tests.engine.puppet import NoCatalog

CONTACT = contact_key("t", "ada")


def _ask(digest: bytes) -> Once:
    return Once(digest, CONTACT, SendDirect(b"m" * 16, "welcome", {}))


def _context(now: int) -> Context:
    context = Context(NoCatalog(), now)
    context.key = control_key(IDEMPOTENCY, "t", "key")
    return context


def test_the_first_request_tells_the_contact() -> None:
    """And remembers what was asked for."""
    done = OnceMachine().decide(None, _ask(b"d"), _context(5))
    assert done.state == OnceState(b"d", b"m" * 16, 5)
    assert done.place == Retired(5 + KEPT_MS)
    assert [type(effect) for effect in done.effects] == [Tell]


def test_repetitions_and_conflicts_change_nothing() -> None:
    """The asker compares digests; the key lives as long as its first request said."""
    machine = OnceMachine()
    state = OnceState(b"d", b"m" * 16, 5)
    for digest, fact in ((b"d", "repeated_request"), (b"other", "conflicting_request")):
        done = machine.decide(state, _ask(digest), _context(99))
        assert (done.state, done.place) == (state, Retired(5 + KEPT_MS))
        assert list(done.effects) == [Record(fact)]


def test_keys_are_no_messages() -> None:
    """They have no place in the law."""
    machine = OnceMachine()
    state = OnceState(b"d", b"m" * 16, 5)
    tally: object = OnceMachine.tally(machine, state)  # type: ignore[func-returns-value]  # it is None
    assert tally is None
