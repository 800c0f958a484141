"""Where the entity of a request stands: beside a recipient where it is known by its content alone."""

from __future__ import annotations

import pytest

from actors.backend import Addressee, SendRequest
from actors.instance.requests import once_arrival, once_key
from engine.keyspace import (
    IDEMPOTENCY,
    Keyspace,
    contact_key,
    control_key,
    kind_of,
    name_of,
    tenant_of,
)
from engine.vocabulary import SendDirect

SPACE = Keyspace(32)


def _request(*contacts: str, named: bool = True, by_content: bool = True) -> SendRequest:
    items = tuple(
        Addressee(
            one,
            SendDirect(
                message_id=bytes(16),
                template="t",
                variables={},
                stream="transactional",
                address=f"{one}@d.example",
                message_class=1,
                due=0,
            ),
        )
        for one in contacts
    )
    repeat_ms = 0 if named else 60_000
    return SendRequest("shop", "key", b"d" * 32, items, repeat_ms, content_keyed=by_content)


def test_a_mail_transaction_stands_in_its_recipients_partition() -> None:
    for number in range(50):
        contact = f"address-{number}"
        key = once_key(_request(contact))
        assert SPACE.partition(key) == SPACE.partition(contact_key("shop", contact))
        assert (kind_of(key), tenant_of(key), name_of(key)) == (IDEMPOTENCY, "shop", b"key")
        assert once_arrival(_request(contact), 5).key == key


def test_the_order_of_recipients_doesnt_matter() -> None:
    """A client that sends again may name them in another one; its digest is the same, so must its place be."""
    assert once_key(_request("b", "a", "c")) == once_key(_request("c", "b", "a"))


@pytest.mark.parametrize(("named", "by_content"), [(False, True), (True, False), (False, False)])
def test_other_requests_stand_by_their_own_name(named: bool, by_content: bool) -> None:
    """With a key of the caller's another recipient is a conflict to be seen. Without a Message-ID an equal one may be
    meant twice: there the rounds that were counted before must be found."""
    request = _request("a", named=named, by_content=by_content)
    assert once_key(request) == control_key(IDEMPOTENCY, "shop", "key")
