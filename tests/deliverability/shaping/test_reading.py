"""Reading: real files load, each value knows its line, and each error says where, what and how to mend it."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.shaping.positions import find_positions
from deliverability.shaping.reading import read_rule_file
from deliverability.shaping.rules import ActionKind, MatchKind, SectionKind
from engine.errors import ConfigError

CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "provider-rules" / "kumomta"
PACK = Path(__file__).parents[3] / "deliverability" / "shaping" / "provider_pack.toml"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared beside the checkout")

SMALL = """\
# a comment with [brackets] and "quotes"
["default"]
connection_limit = 10

[provider."p.1"]
match = [
    {MXSuffix = ".mx.p.example"},   # one
    {HostName = "a.b.example"},
]
max_message_rate = "5/s"

[["default".automation]]
regex = [
    '''one \\d''',
    "two",
]
action = ["Suspend", {SetConfig = {name = "connection_limit", value = 1}}]
duration = "1h"

["d.example".sources."s 1"]
mx_rollup = false
connection_limit = "local:5"
"""


@needs_corpus
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "sections", "classes"),
    [
        ("policy-extras-shaping.toml", 17, 0),
        ("community-shaping.toml", 13, 0),
        ("community-bounces.toml", 0, 109),
        ("bounce_classifier-iana.toml", 0, 26),
    ],
)
def test_kumomtas_files_load_unchanged(name: str, sections: int, classes: int) -> None:
    loaded = read_rule_file((CORPUS / name).read_text("utf-8"), name)
    assert (len(loaded.sections), len(loaded.bounce_classes)) == (sections, classes)


def test_every_rule_of_the_pack_has_evidence_with_source_and_expiry() -> None:
    loaded = read_rule_file(PACK.read_text("utf-8"), "provider_pack.toml")
    for section in loaded.sections:
        assert section.evidence is not None, section.title()
        assert section.evidence.seen < section.evidence.expires
        for rule in section.automation:
            assert rule.evidence is not None, rule.place


def test_sections_settings_and_automation_with_their_lines() -> None:
    sections = {each.title(): each for each in read_rule_file(SMALL, "f.toml").sections}
    provider = sections["provider p.1"]
    assert [(m.kind, m.place.line) for m in provider.matches] == [
        (MatchKind.MX_SUFFIX, 7),
        (MatchKind.HOST_NAME, 8),
    ]
    assert [(s.name, s.place.line) for s in provider.settings] == [("max_message_rate", 10)]
    rule = sections["default"].automation[0]
    assert rule.patterns == ("one \\d", "two")
    assert [place.line for place in rule.pattern_places] == [14, 15]
    assert [action.kind for action in rule.actions] == [ActionKind.SUSPEND, ActionKind.SET_CONFIG]
    of_source = sections["domain d.example, source s 1"]
    assert of_source.kind is SectionKind.DOMAIN
    assert of_source.settings[0].place.line == 22


@pytest.mark.parametrize(
    ("text", "line", "said", "mend"),
    [
        ("a = [", 1, "not TOML", "mend"),
        ("[default]\n\nconection_limit = 1", 3, "no option", "did you mean connection_limit"),
        ('[default]\nconnection_limit = "x"', 2, "connection_limit", ""),
        ('[default]\nenable_tls = "Maybe"', 2, "one of Opportunistic", ""),
        ('[default]\nmatch = [{MXSuffix="a"}]', 2, "only a provider", "move it"),
        ('[provider.a]\nmatch = [{MxSufix="a"}]', 2, "no match", "MXSuffix"),
        ("default = 1", 1, "expected a table", "header"),
        ('[[default.automation]]\naction="Suspend"\nduration="1h"', 1, "needs regex", "add regex"),
        (
            '[[default.automation]]\nregex="("\naction="Suspend"\nduration="1h"',
            2,
            "regular",
            "escape",
        ),
        (
            '[[default.automation]]\nregex="(a+)+"\naction="Suspend"\nduration="1h"',
            2,
            "exponential",
            "",
        ),
        (
            '[[default.automation]]\nregex="a"\naction="Supend"\nduration="1h"',
            3,
            "not an action",
            "Suspend",
        ),
        (
            '[[default.automation]]\nregex="a"\naction="Suspend"\nduration="x"',
            4,
            "duration",
            "units",
        ),
        (
            '[[default.automation]]\nregex="a"\ntrigger={Threshold="x"}\naction="Suspend"\nduration="1h"',
            3,
            "rate",
            "QUANTITY/PERIOD",
        ),
        ('[default]\nevidence = {source="s", seen="x", expires="y"}', 2, "must be a date", "write"),
        ('["d.example"]\nmx_rollup = "no"', 2, "true or false", ""),
        ("[default]\nmx_rollup = true", 2, "only a domain", "remove"),
    ],
)
def test_each_mistake_is_named_with_its_line_and_a_mend(
    text: str, line: int, said: str, mend: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rule_file(text, "f.toml")
    error = caught.value
    assert error.place.file == "f.toml"
    assert line == error.place.line
    assert said in str(error)
    assert mend in str(error)


@given(st.text(alphabet="[]{}\"'=.,# \n\tabc1\\", max_size=200))
def test_hostile_text_is_refused_or_read_never_worse(text: str) -> None:
    assert all(line >= 1 and column >= 1 for line, column in find_positions(text).values())
    with contextlib.suppress(ConfigError):
        read_rule_file(text, "f.toml")
