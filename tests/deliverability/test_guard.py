"""Nothing leaves by accident."""

from __future__ import annotations

from deliverability.guard import Guard


def test_a_twin_takes_everything() -> None:
    """In mode twin neither list matters."""
    guard = Guard("twin", (), ())
    assert guard.recipient_refusal("ann@mail.test") == ""
    assert guard.from_refusal("shop.example") == ""


def test_outside_twins_only_listed_recipients_are_written_to() -> None:
    """A mailbox or a whole domain is allowed, in any case; a subdomain isn't its domain."""
    guard = Guard("relay", ("ann@mail.test", "@staff.example"), ("shop.example",))
    assert guard.recipient_refusal("Ann@Mail.test") == ""
    assert guard.recipient_refusal("bob@staff.example") == ""
    assert guard.recipient_refusal("bob@mail.test")
    assert guard.recipient_refusal("bob@sub.staff.example")
    assert guard.recipient_refusal("")


def test_nobody_is_allowed_unless_said_so() -> None:
    """An empty list allows nobody; `any` is a word that must be written."""
    assert Guard("relay", (), ()).recipient_refusal("ann@mail.test")
    assert Guard("relay", "any", ()).recipient_refusal("ann@mail.test") == ""


def test_a_from_domain_must_be_vouched_for() -> None:
    """Outside twins only the tenant's own domains may stand in From."""
    guard = Guard("relay", "any", ("shop.example",))
    assert guard.from_refusal("Shop.example") == ""
    assert "other.example" in guard.from_refusal("other.example")
