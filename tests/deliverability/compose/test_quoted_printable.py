"""The encoder: its output decodes to the text, and is a fixed point of relaxed canonicalisation."""

from __future__ import annotations

import quopri

from hypothesis import example, given
from hypothesis import strategies as st

from deliverability.compose.quoted_printable import encode_static, encode_with_marks
from deliverability.dkim.canonical import relaxed_body

_text = st.lists(
    st.one_of(
        st.text(max_size=20).map(lambda t: "".join(c for c in t if c >= " " or c in "\t\n")),
        st.sampled_from(
            (".", "\n.", " ", "  ", "\t", "\n", "From ", "=", "é", "x" * 70, "x" * 76, "...")
        ),
    ),
    max_size=12,
).map("".join)


@given(_text)
@example("x" * 74 + " .")
@example("\n." + "x" * 75 + "." * 80)
@example("." * 300)
@example("\n" + "F" + "rom " + "é" * 100)
@example("x" * 75 + "From here")
@example(("x" * 73 + "\n.") * 3)
def test_static_stretches(text: str) -> None:
    """Each stretch decodes to its text, in lines of at most 76 that begin neither with a dot nor with `From `."""
    encoded = encode_static(text)
    assert text.encode() == quopri.decodestring(encoded.replace(b"\r\n", b"\n"))
    lines = encoded.split(b"\r\n")
    assert lines.pop() == b""
    assert max(map(len, lines), default=0) <= 76
    assert not any(line.startswith((b".", b"From ")) for line in lines)
    whole = encoded + b"--end\r\n"
    assert whole == relaxed_body(whole)


def test_a_soft_break_only_where_none_is() -> None:
    """A stretch that ends a line needs no soft break; the last one before structure asks for none."""
    assert encode_static("abc") == b"abc=\r\n"
    assert encode_static("abc\n") == b"abc\r\n"
    assert encode_static("abc", soft=False) == b"abc"
    assert encode_static("abc ", soft=False) == b"abc=20"


def test_marks_leave_room() -> None:
    """A line of 76 octets before a mark is broken, so that a soft break fits in its place."""
    encoded = encode_with_marks("\n" + "x" * 76 + "\x1e\n")
    assert encoded == b"\n" + b"x" * 72 + b"=\n" + b"x" * 4 + b"=1E\n" or all(
        len(line) <= 76 for line in encoded.split(b"\n")
    )
