"""Canonicalisation: the RFC's own examples, properties, and time linear in the input."""

from __future__ import annotations

import time

import dkim
import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from deliverability.dkim.canonical import relaxed_body, relaxed_header, simple_body, split_headers

_body = st.lists(
    st.sampled_from((b" ", b"\t", b"\r\n", b"a", b"  \r\n", b".", b"\r\n\r\n", b"\xc3\xa9")),
    max_size=20,
).map(b"".join)


def test_the_examples_of_the_rfc() -> None:
    """RFC 6376 §3.4.5."""
    assert relaxed_header(b"A", b" X") == b"a:X"
    assert relaxed_header(b"B ", b" Y\t\r\n\tZ  ") == b"b:Y Z"
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"
    assert simple_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C \r\nD \t E\r\n"


@given(_body)
def test_bodies_as_dkimpy_has_them(body: bytes) -> None:
    """The same as another implementation, where the body ends in a line end."""
    body += b"\r\n"
    assert simple_body(body) == Simple.canonicalize_body(body)
    expected = Relaxed.canonicalize_body(body)
    assert relaxed_body(body) == (b"" if expected == b"\r\n" else expected)


@given(_body)
def test_canonical_is_canonical(body: bytes) -> None:
    """Doing it twice changes nothing; without a line end at the end one is added."""
    assert relaxed_body(relaxed_body(body)) == relaxed_body(body)
    assert simple_body(simple_body(body)) == simple_body(body)
    assert relaxed_body(body) == relaxed_body(body + b"\r\n")


def test_empty_bodies() -> None:
    """RFC 6376 §3.4.3 and §3.4.4."""
    assert relaxed_body(b"") == b""
    assert relaxed_body(b" \r\n\r\n") == b""
    assert simple_body(b"") == b"\r\n"


@given(
    st.lists(
        st.tuples(
            st.sampled_from((b"A", b"B ", b"X-c")),
            st.sampled_from((b" x", b"", b" x\r\n y\r\n\tz")),
        )
    )
)
def test_split_headers(fields: list[tuple[bytes, bytes]]) -> None:
    """Folded values stay whole."""
    section = b"".join(name + b":" + value + b"\r\n" for name, value in fields)
    assert fields == split_headers(section)


@pytest.mark.parametrize(
    "unit", [b" ", b"\t ", b"\r\n", b" \r\n", b" x", b"\r", b"\n", b"\t\r\n\t", b"x\r\n"]
)
def test_linear(unit: bytes) -> None:
    """Two million octets of what makes careless patterns quadratic."""
    body = unit * (2_000_000 // len(unit))
    start = time.process_time()
    relaxed_body(body)
    simple_body(body)
    relaxed_header(b"A", body)
    assert time.process_time() - start < 4


def test_dkimpy_is_what_verifies() -> None:
    """The verifier of these tests can check Ed25519 too (needs PyNaCl)."""
    assert dkim.HAVE_NACL if hasattr(dkim, "HAVE_NACL") else dkim.nacl
