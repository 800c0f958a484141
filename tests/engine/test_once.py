"""Idempotency keys: the target is told once, whoever asks how often and for what."""

from __future__ import annotations

from engine.keyspace import IDEMPOTENCY, contact_key, control_key
from engine.machine import At, Context, Record, Retired, Tell, Wake
from engine.once import KEPT_MS, TOLD_AT_ONCE, Addressed, Once, OnceMachine, OnceState, Several
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


def _several(number: int, repeat_ms: int = 0) -> Several:
    items = tuple(
        Addressed(contact_key("t", f"c{n}"), SendDirect(n.to_bytes(16), "welcome", {}))
        for n in range(number)
    )
    return Several(b"d", items, repeat_ms)


def test_many_recipients_are_told_a_lot_at_a_time() -> None:
    """The rest follows by itself; a repetition meanwhile neither repeats nor loses any of them."""
    machine = OnceMachine()
    done = machine.decide(None, _several(2 * TOLD_AT_ONCE + 1), _context(5))
    told = list(done.effects)
    now = 5
    while isinstance(done.place, At):
        assert done.place.due > now
        repeated = machine.decide(done.state, _several(2 * TOLD_AT_ONCE + 1), _context(now))
        assert isinstance(repeated.place, At)
        assert repeated.state == done.state
        now = done.place.due
        done = machine.decide(done.state, Wake(), _context(now))
        told += done.effects
    assert done.place == Retired(5 + KEPT_MS)
    tells = [effect for effect in told if isinstance(effect, Tell)]
    assert [tell.body.message_id for tell in tells] == list(done.state.message_ids)
    assert len(tells) == 2 * TOLD_AT_ONCE + 1


def test_a_request_known_by_its_content_is_new_after_a_while() -> None:
    """Within the window it is a repetition; later its messages have ids of their own."""
    machine = OnceMachine()
    first = machine.decide(None, _several(1, repeat_ms=100), _context(5))
    again = machine.decide(first.state, _several(1, repeat_ms=100), _context(105))
    assert (again.state, list(again.effects)) == (first.state, [Record("repeated_request")])
    later = machine.decide(first.state, _several(1, repeat_ms=100), _context(106))
    (tell,) = later.effects
    assert isinstance(tell, Tell)
    assert tell.body.message_id != first.state.message_id
    assert tell.body.message_id[:4] == first.state.message_id[:4]
