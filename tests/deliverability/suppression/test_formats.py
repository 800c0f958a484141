"""Other senders' lists: what they write is read, what we write they read, and rubbish is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.suppression.formats import FORMS, Form, Listed, Mistake, read_list, write_list

CREATED = 1_700_000_000_000


def read(text: str, form: Form, tenant: str = "shop") -> list[Listed | Mistake]:
    return list(read_list(text, form, tenant))


def brief(text: str, form: Form) -> list[tuple[str, str, str]]:
    return [
        (one.address, one.reason, one.scope) for one in read(text, form) if isinstance(one, Listed)
    ]


def test_ses() -> None:
    """ListSuppressedDestinations of SES v2."""
    text = json.dumps(
        {
            "SuppressedDestinationSummaries": [
                {
                    "EmailAddress": "a@x.example",
                    "Reason": "BOUNCE",
                    "LastUpdateTime": "2023-11-14T22:13:20+00:00",
                },
                {
                    "EmailAddress": "b@x.example",
                    "Reason": "COMPLAINT",
                    "LastUpdateTime": 1700000000.5,
                },
            ]
        }
    )
    assert brief(text, "ses") == [
        ("a@x.example", "hard-bounce", ""),
        ("b@x.example", "complaint", ""),
    ]
    assert {CREATED, CREATED + 500} == {
        one.created for one in read(text, "ses") if isinstance(one, Listed)
    }


def test_sendgrid() -> None:
    """Bounces have a reply as reason, groups a number; a bare list takes the default."""
    text = json.dumps(
        [
            {
                "created": 1700000000,
                "email": "a@x.example",
                "reason": "550 5.1.1 gone",
                "status": "5.1.1",
            },
            {"email": "b@x.example", "group_id": 7, "group_name": "News", "created_at": 1700000000},
        ]
    )
    assert brief(text, "sendgrid") == [
        ("a@x.example", "hard-bounce", ""),
        ("b@x.example", "unsubscribe", "topic/shop/News"),
    ]
    assert "5.1.1" in [one.evidence for one in read(text, "sendgrid") if isinstance(one, Listed)]
    csv = "email,created\nc@x.example,1700000000\n"
    assert brief(csv, "sendgrid") == [("c@x.example", "imported", "")]


def test_mailgun() -> None:
    """Bounces have a code, unsubscribes tags."""
    text = json.dumps(
        {
            "items": [
                {
                    "address": "a@x.example",
                    "code": "550",
                    "error": "no such a@x.example",
                    "created_at": "Tue, 14 Nov 2023 22:13:20 UTC",
                },
                {"address": "b@x.example", "tags": ["*"]},
                {"address": "c@x.example", "tags": ["news"]},
            ]
        }
    )
    assert brief(text, "mailgun") == [
        ("a@x.example", "hard-bounce", ""),
        ("b@x.example", "unsubscribe", ""),
        ("c@x.example", "unsubscribe", "topic/shop/news"),
    ]
    first = read(text, "mailgun")[0]
    assert isinstance(first, Listed)
    assert (first.created, first.evidence) == (CREATED, "550")


def test_postmark_and_sparkpost() -> None:
    """Both know streams."""
    text = json.dumps(
        {
            "Suppressions": [
                {
                    "EmailAddress": "a@x.example",
                    "SuppressionReason": "SpamComplaint",
                    "MessageStream": "outbound",
                },
                {"EmailAddress": "b@x.example", "SuppressionReason": "ManualSuppression"},
            ]
        }
    )
    assert brief(text, "postmark") == [
        ("a@x.example", "complaint", "stream/shop/outbound"),
        ("b@x.example", "manual", ""),
    ]
    text = json.dumps(
        {
            "results": [
                {
                    "recipient": "a@x.example",
                    "type": "non_transactional",
                    "source": "Unsubscribe Link",
                },
                {"recipient": "b@x.example", "type": "transactional", "source": "Bounce Rule"},
            ]
        }
    )
    assert brief(text, "sparkpost") == [
        ("a@x.example", "unsubscribe", "stream/shop/marketing"),
        ("b@x.example", "hard-bounce", "stream/shop/transactional"),
    ]


def test_csv_in_many_forms() -> None:
    """Semicolons, a byte order mark, a bare list, lines that can't be used."""
    assert brief("\ufeffE-Mail;Reason\na@x.example;Spam report\n", "csv") == [
        ("a@x.example", "complaint", "")
    ]
    assert [one[0] for one in brief("a@x.example\n\n@y.example\n", "csv")] == [
        "a@x.example",
        "@y.example",
    ]
    found = read("address,scope\nnobody,\nb@x.example,nowhere\nc@x.example,operator\n", "csv")
    assert [Mistake, Mistake, Listed] == [type(one) for one in found]
    assert [one.line for one in found if isinstance(one, Mistake)] == [2, 3]


NAMES = ("email", "items", "tags", "code", "created", "type", "results", "group_id", "reason")
addresses = st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.example", fullmatch=True)
reasons = st.sampled_from(("hard-bounce", "complaint", "unsubscribe", "manual"))


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.tuples(addresses, reasons), max_size=6))
def test_what_is_written_is_read_again(form: Form, said: list[tuple[str, str]]) -> None:
    """Every form keeps the addresses; csv keeps all."""
    entries = [
        Listed(address, reason, "tenant/shop", "cli", "550 5.1.1", CREATED, CREATED + 1000)
        for address, reason in said
    ]
    again = read("".join(write_list(entries, form)), form)
    assert [one.address for one in entries] == [
        one.address for one in again if isinstance(one, Listed)
    ]
    if form == "csv":
        assert entries == again
    if form in ("mailgun", "sparkpost", "sendgrid"):
        assert [one.reason for one in entries] == [
            one.reason for one in again if isinstance(one, Listed)
        ]


@pytest.mark.parametrize("form", FORMS)
@given(
    st.one_of(
        st.text(max_size=300),
        st.recursive(
            st.one_of(
                st.none(), st.booleans(), st.floats(), st.text(max_size=20), st.just("a@x.example")
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(
                        (
                            "email",
                            "items",
                            "tags",
                            "code",
                            "created",
                            "type",
                            "results",
                            "group_id",
                            "reason",
                        )
                    ),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=12,
        ).map(json.dumps),
    )
)
def test_any_text_is_read_or_told(form: Form, text: str) -> None:
    """No input makes it raise; what is read is an address."""
    for one in read_list(text, form, "shop"):
        assert isinstance(one, Mistake) or "@" in one.address


def test_hostile_lists_end_quickly() -> None:
    """Deep nesting, endless lines and formulas."""
    assert isinstance(read("[" * 100_000, "ses")[0], Mistake)
    assert isinstance(read("email\n" + "a" * 50_000 + "@x.example\n", "csv")[0], Mistake)
    written = "".join(write_list([Listed("=cmd@x.example", evidence="=1+1")], "csv"))
    assert "\n'=cmd@x.example" in written
