"""The configuration: what is taken, what is refused and how that is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import DEFAULT_RETRY, Config, RetryCurve, parse
from engine.errors import ConfigError
from engine.settings_reference import reference

KEY_HASH = "sha256:" + "ab" * 32
OTHER_HASH = "sha256:" + "cd" * 32


def refused(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "conf/veredus.toml", environ)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_an_empty_file_gives_all_defaults() -> None:
    """Nothing has to be written."""
    assert parse("") == Config()


def test_defaults_pass_their_own_checks() -> None:
    """Each default lies within the range of its field."""
    tree = msgspec.to_builtins(Config())
    assert msgspec.convert(tree, Config) == Config()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[http]\nprot = 1",
            "conf/veredus.toml:2:1: http.prot: unknown key (did you mean 'port'?)",
        ),
        ("\n[htp]\n", "conf/veredus.toml:2:1: htp: unknown key or section (did you mean 'http'?)"),
        (
            "[http]\nport = 'x'",
            "conf/veredus.toml:2:1: http.port: expected a whole number, got 'x'",
        ),
        (
            "[http]\n\n  port = 70000",
            "conf/veredus.toml:3:3: http.port: expected a whole number <= 65535, got 70000",
        ),
        (
            "delivery.mode = 'twn'",
            "delivery.mode: expected one of 'twin', 'relay', 'live', got 'twn' (did you mean 'twin'?)",
        ),
        ("http = 5", "conf/veredus.toml:1:1: http: expected a table, got 5"),
        ("a = [", "conf/veredus.toml:1: isn't valid TOML: Invalid value"),
        ("[http]\nport = 1 1", "conf/veredus.toml:2:10: isn't valid TOML"),
        (
            "[[tenant]]\nname='a'\n[[tenant]]\nname = 'B'",
            "conf/veredus.toml:4:1: tenant[1].name: expected lower case letters",
        ),
        (
            "[[tenant]]\n[[tenant]]\nname='b'\n[[tenant.dkim]]\nselector='s'",
            "conf/veredus.toml:4:1: tenant[1].dkim[0]: the key 'domain' is missing",
        ),
        (
            '[limits."Gmail.com"]',
            'conf/veredus.toml:1:1: limits["Gmail.com"]: expected a domain in lower case',
        ),
        (
            "[limits.'gmail.com']\nburst = 0",
            'conf/veredus.toml:2:1: limits["gmail.com"].burst: expected a whole number >= 1, got 0',
        ),
        ("store.partitions = 3", "conf/veredus.toml:1:1: store.partitions: must be a power of two"),
        (
            "delivery.mode = 'live'",
            "delivery.ehlo_name: mode 'live' needs the name of this machine in DNS",
        ),
        (
            "[delivery]\nmode = 'live'\nehlo_name = 'mx.shop.example'\n[[tenant]]\nfrom_domains = ['shop.example']",
            "tenant[0].dkim: mode 'live' sends no unsigned mail",
        ),
        (
            "[delivery]\nmode = 'live'\nehlo_name = 'mx.shop.example'",
            "delivery.allow: mode 'live' needs to know whom it may write to",
        ),
        ("[[pool]]\nname = 'p'\nmembers = [{source = 'a'}]", "there is no source 'a'"),
        ("[[source]]\nname = 'a'\n[[source]]\nname = 'a'", "two sources are named 'a'"),
        ("[[source]]\nname = 'a'\nproxy = 'socks5'", "a proxy needs proxy_host"),
        (
            "[delivery]\nallow = ['x']",
            "conf/veredus.toml:2:1: delivery.allow[0]: expected a mailbox",
        ),
        ("[delivery]\nallow = 'all'", "expected recipients outside mode `twin`"),
        ("[delivery.retry.default]\nfactor = nan", "expected a number >= 1.0, got nan"),
        ("[delivery.retry.default]\nfactor = inf", "expected a number <= 10.0, got inf"),
        ("http.host = '0.0.0.0'", "listening on '0.0.0.0' needs an API key"),
        ("http.tls_key_file = 'k'", "http.tls_key_file: without http.tls_cert_file"),
        ("[[tenant]]\n[[tenant]]", "two tenants are named 'default'"),
        ("[[tenant]]\nstream = 'marketin'", "there is no stream 'marketin' (did you mean"),
        ("[[tenant]]\nfrom_address = 'a@b.c'", "its domain 'b.c' isn't among from_domains"),
        ('[[tenant]]\nname = "a\\n"', "expected lower case letters"),
        ("http.port = " + "1" * 5000, "isn't valid TOML"),
        ("x = " + "[" * 5000, "is nested too deeply"),
        ("x" * (1 << 20) + "x", "is longer than 1048576 bytes"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, line: str) -> None:
    """A mistake names file, line, column and key, says what was expected, and stays one line."""
    assert line in refused(text)


def test_keys_inside_texts_of_several_lines_are_not_places() -> None:
    """What looks like a key inside a text isn't mistaken for one."""
    text = '[[tenant]]\nfrom_name = """\nstream = 1\n"""\nstream = 1\n'
    assert refused(text).startswith("conf/veredus.toml:5:1: tenant[0].stream: ")


RELAY = """
[[tenant]]
from_domains = ["shop.example"]
[delivery]
mode = "relay"
"""


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("", "delivery.relay.host: mode 'relay' needs the relay's host"),
        ("relay.host = 'h'", "delivery.allow: mode 'relay' needs to know whom it may write to"),
        ("allow = 'any'\nrelay = {host = 'h', username = 'u'}", "a username needs a password"),
        (
            "allow = 'any'\nrelay = {host = 'h', username = 'u', password_file = 'p', starttls = 'none'}",
            "a password is only sent over TLS",
        ),
    ],
)
def test_mail_leaves_only_when_everything_is_said(more: str, line: str) -> None:
    """Mode relay is refused without host, allow-list, or TLS for a password."""
    assert line in refused(RELAY + more)


def test_relay_needs_a_from_domain() -> None:
    """Without a From domain that somebody vouches for, nothing leaves."""
    text = "[delivery]\nmode = 'relay'\nallow = 'any'\nrelay.host = 'h'"
    assert "needs a From domain" in refused(text)


def test_a_complete_relay_is_taken() -> None:
    """With host, allow-list and From domain, mode relay loads."""
    config = parse(RELAY + "allow = ['@shop.example', 'me@example.org']\nrelay.host = 'h'")
    assert config.delivery.allow == ("@shop.example", "me@example.org")


def test_an_api_key_belongs_to_one_tenant() -> None:
    """The same hash in two places is refused, the operator's included."""
    two = (
        f"[[tenant]]\nname='a'\napi_key_hashes=['{KEY_HASH}']\n"
        f"[[tenant]]\nname='b'\napi_key_hashes=['{KEY_HASH}']"
    )
    assert "belongs to tenant 'a' already" in refused(two)
    operator = f"http.operator_key_hashes=['{KEY_HASH}']\n[[tenant]]\napi_key_hashes=['{KEY_HASH}']"
    assert "belongs to the operator already" in refused(operator)


def test_with_a_key_it_may_listen_anywhere() -> None:
    """An API key opens addresses beyond loopback."""
    text = f"http.host = '0.0.0.0'\n[[tenant]]\napi_key_hashes = ['{KEY_HASH}']"
    assert parse(text).http.host == "0.0.0.0"


def test_file_names_are_relative_to_the_file() -> None:
    """Relative names are joined to the configuration's folder, absolute ones stay, empty ones stay empty."""
    text = "[[tenant]]\nfrom_domains = ['a.b']\nsecret_file = 'keys/s'\n[[tenant.dkim]]\n"
    text += "domain = 'a.b'\nselector = 's'\nkey_file = '/abs/k'"
    config = parse(text, "conf/veredus.toml")
    assert config.data_dir == "conf/.veredus"
    assert config.tenant[0].secret_file == "conf/keys/s"
    assert config.tenant[0].dkim[0].key_file == "/abs/k"
    assert config.http.tls_cert_file == ""


def test_the_environment_overrides_the_file() -> None:
    """Variables win, are read as the key's type wants it, and make sections that the file lacks."""
    config = parse(
        "[http]\nport = 1\nhost = 'localhost'",
        "conf/veredus.toml",
        {
            "VEREDUS_HTTP__PORT": "99",
            "VEREDUS_TENANT__0__FROM_NAME": "12",
            "VEREDUS_STREAMS__NEWS__IN_DOUBT": "hold",
            "VEREDUS_DELIVERY__ALLOW": '["@a.b"]',
            "VEREDUS_DELIVERY__RETRY__DEFAULT__FACTOR": "3",
            "VEREDUS_DATA_DIR": "here",
            "VEREDUS_PORT_8025_TCP": "tcp://10.0.0.1:8025",
            "HOME": "/",
        },
    )
    assert (config.http.port, config.http.host) == (99, "localhost")
    assert config.tenant[0].from_name == "12"
    assert config.streams["news"].in_doubt == "hold"
    assert config.delivery.allow == ("@a.b",)
    assert config.delivery.retry["default"].factor == 3.0
    assert config.data_dir == "here"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("VEREDUS_HTTP__PRT", "1", "there is no key 'http.prt' (did you mean 'port'?)"),
        ("VEREDUS_HTTP__PORT", "no", "expected a whole number, got 'no'"),
        ("VEREDUS_HTTP__PORT", "70000", "expected a whole number <= 65535, got 70000"),
        ("VEREDUS_DELIVERY__RELAY", "{}", "'delivery.relay' is a section, not a key"),
        ("VEREDUS_TENANT__1__DKIM", "[]", "is a section, not a key"),
        ("VEREDUS_TENANT__7__NAME", "a", "there is no key 'tenant.7'"),
        ("VEREDUS_HTTP__HOST", "0.0.0.0", "listening on '0.0.0.0' needs an API key"),
        ("VEREDUS___", "0", "there is no key ''"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable(name: str, value: str, line: str) -> None:
    """Who wrote a variable is sent to the variable, not to the file."""
    assert refused("[[tenant]]\n", {name: value}).startswith(f"environment: {name}: ")
    assert line in refused("[[tenant]]\n", {name: value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[[pacing.threshold]]\nsignal = 'blocks'\npercent = 2.5\naction = 'slow'\n",
            (
                "veredus.toml:1:1: pacing.threshold[0]: `[[pacing.threshold]]` has gone: `[measures]` is what slows"
                " down and holds streams by their rates (write `blocks_slow_percent = 2.5` under `[measures]` (docs"
            ),
        ),
        (
            "[[pacing.threshold]]\nstreams = ['marketing']\n",
            "write `complaints_pause_percent = 0.3` under `[measures.streams.marketing]`",
        ),
        (
            "[measures]\nbounces_slow_percent = 9\n",
            "bounces_slow_percent (9) is above bounces_pause_percent (5)",
        ),
        (
            "[measures.streams.marketing]\nblocks_pause_percent = 0.5\n",
            "veredus.toml:2:1: measures.streams.marketing.blocks_pause_percent: blocks_slow_percent (1) is above",
        ),
        ("[measures.streams.none]\nact = true\n", "there is no stream 'none'"),
    ],
)
def test_measures_are_told_apart_and_what_has_gone_says_where_to(text: str, said: str) -> None:
    """One truth about rates that act; its mistakes name file, line and key."""
    with pytest.raises(ConfigError) as found:
        parse(text, "veredus.toml")
    assert said in " ".join(str(found.value).split())


def test_streams_limits_and_curves_fall_back() -> None:
    """What isn't written comes from `default`, then from what is built in."""
    config = parse("[limits.default]\nburst = 7\n[limits.'a.b']\nburst = 8\n[streams.news]")
    assert config.limits_of("a.b").burst == 8
    assert config.limits_of("c.d").burst == 7
    assert config.stream("marketing") is not None
    assert config.stream("nothing") is None
    assert config.delivery.curve("greylisted") == DEFAULT_RETRY["greylisted"]
    assert config.delivery.curve("unheard of") == DEFAULT_RETRY["default"]
    own = parse("[delivery.retry.default]\nfirst_s = 9")
    assert own.delivery.curve("unheard of") == RetryCurve(first_s=9)


def test_the_reference_is_current() -> None:
    """docs/configuration.md says what the Structs say; see engine/settings_reference.py for how it is made."""
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert reference() == page.read_text(encoding="utf-8")


def test_every_key_has_a_description() -> None:
    """No row of the reference has an empty meaning."""
    assert not [line for line in reference().splitlines() if line.endswith("|  |")]


# ---- properties

NAMES = sorted(
    {field.name for field in msgspec.structs.fields(Config)}
    | {"port", "host", "mode", "relay", "name", "dkim", "allow", "default", "gmail.com", "x y", ""}
)
SCALARS = st.one_of(
    st.integers(),
    st.booleans(),
    st.floats(),
    st.sampled_from(["twin", "relay", "live", "any", "0.0.0.0", "a@b.c", KEY_HASH, OTHER_HASH]),
    st.text(max_size=8),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


def as_toml(value: Any) -> str:
    """Write a value in TOML, all inline."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=True).replace("\\u007f", "\\u007F")
        case list():
            return f"[{', '.join(map(as_toml, value))}]"
        case _:
            pairs = (f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"


def parsed(text: str, environ: dict[str, str] | None = None) -> Config | str:
    """Give the configuration, or the line that refuses it."""
    try:
        return parse(text, "f.toml", environ)
    except ConfigError as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(tree=st.dictionaries(st.sampled_from(NAMES), TREES, max_size=4))
def test_any_tree_is_a_configuration_or_a_mistake_in_one_line(tree: dict[str, Any]) -> None:
    """Whatever stands in the file, the answer is a Config or one line that names the file."""
    text = "\n".join(f"{json.dumps(key)} = {as_toml(value)}" for key, value in tree.items())
    found = parsed(text)
    assert isinstance(found, Config) or (found.startswith("f.toml") and "\n" not in found)


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("[]{}=.,'\"\n# abhtp01_-\x00é\\"), max_size=60))
def test_any_text_is_a_configuration_or_a_mistake_in_one_line(text: str) -> None:
    """Text that is hardly TOML gives one line as well."""
    found = parsed(text)
    assert isinstance(found, Config) or "\n" not in found


VARIABLES = st.sampled_from(
    [
        *("HTTP__PORT", "HTTP__HOST", "TENANT__0__NAME", "TENANT__1__STREAM", "DELIVERY__ALLOW"),
        *("STREAMS__X__IN_DOUBT", "LIMITS__A.B__BURST", "DATA_DIR", "HTTP__X", "A__B", "__", "LOG"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    environ=st.dictionaries(
        VARIABLES, st.one_of(st.text(max_size=10), SCALARS.map(str)), max_size=4
    )
)
def test_any_environment_is_a_configuration_or_a_mistake_in_one_line(
    environ: dict[str, str],
) -> None:
    """The same for variables."""
    variables = {f"VEREDUS_{name}": text for name, text in environ.items()}
    found = parsed("[[tenant]]", variables)
    assert isinstance(found, Config) or "\n" not in found


@given(
    before=st.lists(st.sampled_from(["", "# x", "port = 1", "  host = 'localhost'"]), unique=True)
)
def test_the_line_of_a_mistake_is_its_line(before: list[str]) -> None:
    """However many lines stand before it, an unknown key is found on its own."""
    text = "\n".join(["[http]", *before, "kee = 1"])
    assert refused(text).startswith(f"conf/veredus.toml:{len(before) + 2}:1: http.kee: ")
