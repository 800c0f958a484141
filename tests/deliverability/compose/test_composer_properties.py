"""Whatever the template and the values: what is decoded is what minijinja renders, and the octets obey the RFCs."""

from __future__ import annotations

from hashlib import sha256

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.compose.composer import Skeleton
from deliverability.compose.template import Composed, ExtraHeader, Profile, Template, Tracking
from deliverability.compose.values import clean_text
from deliverability.dkim.canonical import relaxed_body, relaxed_header, split_headers
from deliverability.dkim.keys import SigningKey, dns_name, dns_record, generate_pem, load_key
from deliverability.dkim.signer import sign
from deliverability.tokens import KeyRing
from tests.deliverability.compose.letters import NOW, letter, parse, parts, reference

_WORDS = (
    *(
        " ",
        "  ",
        "\t",
        " \n",
        "\n\n",
        "\n",
        ".",
        "\n.",
        "\nFrom us",
        "=",
        "=3D",
        "=\n",
        "é",
        "日本語",
    ),
    *("x" * 80, "<p>", "</p>", "&amp;", "-", "--", "{", "}", "%}", "\n    ", "a" * 74 + ".", "🎈"),
    *(
        "a quite ordinary sentence of static text",
        "https://shop.example/a/b?c=d&e=f",
        "1",
        "\u00a0",
    ),
)
_static = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=6).map("".join)


def _safe_static(text: str) -> str:
    """A brace may not meet a tag of ours by chance."""
    return text.replace("{", "{ ").replace("%}", "% }")


_signs = st.sampled_from(("", "-"))
_output = st.builds(
    "{{{{{0} {1} {2}}}}}".format,
    _signs,
    st.sampled_from(
        (
            "a",
            "b|upper",
            "n",
            '"}}"',
            "{'k': {'l': n}}.k.l",
            "html|safe",
            "' \\n.'",
            "a|replace('x','')",
        )
    ),
    _signs,
)


def _block(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    wrap = st.sampled_from(
        (
            "{%@ if yes @%}¦{%@ else @%}¦{%@ endif @%}",
            "{%@ for p in items @%}¦{{ p }}¦{%@ endfor @%}",
            "{%@ set s @%}¦{%@ endset @%}¦{{ s|length }}",
            "{%@ filter upper @%}¦{%@ endfilter @%}¦",
            "{%@ with w = n @%}¦{{ w }}¦{%@ endwith @%}",
            "{%@ macro m(x) @%}¦{{ x }}{%@ endmacro @%}¦{{ m(a) }}",
            "{%@ raw @%} {{ not }} {% if %} a somewhat longer stretch {%@ endraw @%}¦¦",
            "{#@ a {{ comment }} @#}¦{#@ more @#}¦",
            "{% autoescape false %}¦{{ a }}{% endautoescape %}¦",
        )
    )

    def fill(shape: str, inner: list[str], signs: list[str]) -> str:
        head, middle, tail = shape.split("¦")
        made = head + inner[0] + middle + inner[1] + tail
        for strip in signs:
            made = made.replace("@", strip, 1)
        return made.replace("@", "")

    return st.builds(
        fill, wrap, st.lists(children, min_size=2, max_size=2), st.lists(_signs, max_size=8)
    )


_piece = st.recursive(
    st.one_of(_static.map(_safe_static), _output),
    lambda children: st.one_of(
        _block(children), st.lists(children, min_size=1, max_size=3).map("".join)
    ),
    max_leaves=12,
)
_sources = st.lists(_piece, min_size=0, max_size=6).map("".join)
_text = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1e\x1f\x1c\x1d\x1b\r\n\t .=\x00\x85\u2028"),
    ),
    max_size=120,
)
_variables = st.fixed_dictionaries(
    {
        "a": _text,
        "b": _text,
        "html": _text,
        "n": st.integers(-(2**63), 2**64 - 1),
        "yes": st.booleans(),
        "items": st.lists(_text, max_size=3),
    }
)


LINK = '<a href="https://a.example/?x={{ n }}&amp;y=1">.</a><a href="https://a.example">l</a>'


@pytest.fixture(scope="module")
def keys() -> list[SigningKey]:
    return [
        load_key(generate_pem("rsa-sha256"), "sender.example", "r1"),
        load_key(generate_pem("ed25519-sha256"), "platform.example", "e1"),
    ]


def assert_obeys(composed: Composed) -> None:
    """The form of headers and body, whatever is in them."""
    for section in (composed.headers, composed.body):
        assert section.endswith(b"\r\n") or not section
        lines = section.removesuffix(b"\r\n").split(b"\r\n")
        assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
        assert not any(line.startswith((b".", b"From ")) for line in lines)
        assert max(map(len, lines)) <= (76 if section is composed.body else 998)
    assert composed.body == relaxed_body(composed.body)
    assert composed.body_hash == sha256(composed.body).digest()
    fields = split_headers(composed.headers)
    assert composed.canonical == b"".join(relaxed_header(*field) + b"\r\n" for field in fields)
    assert composed.fields == ":".join(name.decode().lower() for name, _ in fields)


@settings(max_examples=120, deadline=None)
@given(_sources, _sources, _variables)
def test_decodes_to_what_minijinja_renders(
    html: str, text: str, variables: dict[str, object]
) -> None:
    """Both parts, decoded, equal minijinja's own rendering of the same template with the same clean values."""
    skeleton = Skeleton(Template("t", "s", f"<i>{html}", "a@b.example", text=text), Profile())
    composed = skeleton.compose(letter(variables=variables))
    clean: dict[str, object] = {
        k: [clean_text(x) for x in v]
        if isinstance(v, list)
        else clean_text(v)
        if isinstance(v, str)
        else v
        for k, v in variables.items()
    }
    found = parts(composed)
    assert reference(f"<i>{html}", "x.html", **clean) == found["text/html"]
    assert reference(text, "x.txt", **clean) == found["text/plain"]
    assert_obeys(composed)


@settings(max_examples=60, deadline=None)
@given(_sources, _variables)
def test_text_alone_decodes_to_what_minijinja_renders(
    text: str, variables: dict[str, object]
) -> None:
    """A message of text alone loses at most the line ends at its end."""
    composed = Skeleton(Template("t", "s", "", "a@b.example", text=text), Profile()).compose(
        letter(variables=variables)
    )
    clean: dict[str, object] = {
        k: [clean_text(x) for x in v]
        if isinstance(v, list)
        else clean_text(v)
        if isinstance(v, str)
        else v
        for k, v in variables.items()
    }
    assert reference(text, "x.txt", **clean).rstrip("\n") == parts(composed)["text/plain"].rstrip(
        "\n"
    )
    assert_obeys(composed)


@settings(max_examples=100, deadline=None)
@given(_text, _text, _text, _text)
def test_no_value_can_add_a_header(name: str, subject: str, extra: str, campaign: str) -> None:
    """Names, subject, own fields and campaign with anything in them leave the list of fields as it is."""
    made = Template(
        "t",
        "{{ s }}",
        "<p>x",
        "a@b.example",
        from_name="{{ f }}",
        headers=(ExtraHeader("X-Own", "v{{ e }}"),),
    )
    composed = Skeleton(made, Profile()).compose(
        letter(
            variables={"s": subject, "f": name, "e": extra},
            display_name=name,
            campaign=campaign,
            scenario=subject,
            tenant=extra,
        )
    )
    expected = "from:to:subject:date:message-id:mime-version:content-type:feedback-id:x-own"
    assert expected == composed.fields
    message = parse(composed)
    assert expected.split(":") == [name.lower() for name in message]  # as another parser sees it
    assert message["To"].addresses[0].addr_spec == "ann@receiver.example"
    assert message["From"].addresses[0].addr_spec == "a@b.example"
    assert len(message["To"].addresses) == 1
    assert len(message["From"].addresses) == 1
    assert composed.headers.isascii()
    assert_obeys(composed)


@settings(max_examples=40, deadline=None)
@given(_sources, _variables, _text)
def test_signatures_verify(
    keys: list[SigningKey], html: str, variables: dict[str, object], name: str
) -> None:
    """Dkimpy verifies both signatures, RSA and Ed25519, over whatever was composed."""
    made = Template("t", "{{ a }}", html + LINK, "a@sender.example", from_name="{{ b }}")
    profile = Profile(keys=KeyRing(1, {1: b"k" * 32}), tracking=Tracking("go.sender.example"))
    composed = Skeleton(made, profile).compose(
        letter(
            variables=variables,
            display_name=name,
            stream="marketing",
            unsubscribe_url="https://sender.example/u/1?a=b&c=d",
        )
    )
    records = {f"{dns_name(key)}.".encode(): dns_record(key).encode() for key in keys}
    assert_obeys(composed)
    raw = sign(composed, keys, NOW) + composed.headers + b"\r\n" + composed.body
    checker = dkim.DKIM(raw)
    for index in (0, 1):
        assert checker.verify(index, dnsfunc=lambda n, timeout=5: records[n])


@settings(max_examples=100, deadline=None)
@given(_sources, _variables)
def test_same_letter_same_octets(html: str, variables: dict[str, object]) -> None:
    """A skeleton compiled anew composes the same octets from the same letter."""
    made = Template("t", "{{ a }}", f"{html}.", "a@b.example")
    first, second = (Skeleton(made, Profile()) for _ in range(2))
    assert first.compose(letter(variables=variables)) == second.compose(letter(variables=variables))
