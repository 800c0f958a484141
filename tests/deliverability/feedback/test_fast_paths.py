"""What was made fast answers as the plain form of it does."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from deliverability.feedback.mime import header_block
from deliverability.feedback.phrases import normalise
from deliverability.feedback.prose import cut_original, quotes_reply
from deliverability.feedback.replies import template_of

_PLAIN = re.compile(
    r"(?<![\w.:])[245][0-5]\d(?=[ \-:;,]|['\"\]]|$)|(?<![\w.])[245]\.\d{1,2}\.\d{1,3}(?![\w.])|said:|<<<"
)
_pieces = st.lists(
    st.sampled_from(
        [
            "550",
            "5.1.1",
            "4.7",
            "said:",
            "<<<",
            " ",
            "\n",
            ":",
            ".",
            "-",
            "x",
            "'",
            "245",
            "1",
            "é",
            "٣",
        ]
    ),
    max_size=12,
).map("".join)


@given(_pieces | st.text(max_size=40))
def test_codes_are_seen_as_the_plain_expression_sees_them(text: str) -> None:
    """A quoted reply is one wherever the expression that looks behind first finds one."""
    assert quotes_reply(text) == (_PLAIN.search(text) is not None)


@given(st.lists(st.sampled_from("a1 .:9@_-é\n\t\x1c\u00a0"), max_size=30).map("".join))
def test_a_template_is_its_own_template(text: str) -> None:
    """What changes from reply to reply is taken out at once, and no space is left that `split` knows."""
    once = template_of(text)
    assert template_of(once) == once or "@" in once
    assert normalise(text) == re.sub(r"\s+", " ", normalise(text)).strip()


@given(
    st.lists(
        st.sampled_from(["--- copy of the message", "", " ", "text", "Subject: a"]), max_size=6
    )
)
def test_a_mark_needs_prose_before_it(lines: list[str]) -> None:
    """The copy begins at the first mark that has prose before it, and at none that hasn't."""
    text = "\n".join(lines)
    prose, copied = cut_original(text)
    before = [
        n for n, line in enumerate(lines) if line.startswith("---") and "".join(lines[:n]).strip()
    ]
    if before:
        assert prose == "".join(f"{line}\n" for line in lines[: before[0]])
    else:
        assert (prose, copied) == (text, "")


def test_the_first_of_two_fields_counts() -> None:
    """`get` gives the first value of a repeated field, `all` every one."""
    header, _ = header_block(b"To: a@example.org\nSubject: one\nSubject: two\n\nx")
    assert header.get("subject") == "one"
    assert header.all("subject") == ["one", "two"]
    assert header.get("cc") == ""
