"""Check: dead, shadowed, overlapping and out-of-date rules are named, and good rules are left in peace."""

from pathlib import Path

import pytest

from deliverability.shaping.check import FindingKind, check_rules
from deliverability.shaping.reading import read_rule_set

CORPUS = Path(__file__).parents[4] / "shared" / "corpora"
PACK = Path(__file__).parents[3] / "deliverability" / "shaping" / "provider_pack.toml"
TODAY = "2026-11-23"


def kinds(text: str, *more: str, today: str = TODAY) -> list[tuple[str, int]]:
    files = [(f"{number}.toml", each) for number, each in enumerate((text, *more))]
    return [(each.kind.value, each.place.line) for each in check_rules(read_rule_set(files), today)]


@pytest.mark.shared
@pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared beside the checkout")
def test_the_dead_entries_of_kumomtas_files_are_named() -> None:
    folder = CORPUS / "provider-rules" / "kumomta"
    names = ("policy-extras-shaping.toml", "community-shaping.toml")
    rules = read_rule_set((name, (folder / name).read_text("utf-8")) for name in names)
    dead = [each for each in check_rules(rules, TODAY) if each.kind is FindingKind.DEAD]
    assert [(each.place.file, each.place.line) for each in dead] == [
        ("community-shaping.toml", line) for line in (33, 39, 251, 299, 309, 325)
    ]
    assert "google" in dead[0].mend


def test_the_pack_has_no_finding_before_it_expires_and_some_after() -> None:
    text = PACK.read_text("utf-8")
    assert kinds(text) == []
    assert {kind for kind, _ in kinds(text, today="2028-01-01")} == {"expired"}


def test_a_provider_may_get_its_match_list_from_another_file() -> None:
    rule = '[[provider.p.automation]]\nregex = "x"\naction = "Suspend"\nduration = "1h"\n'
    assert kinds(rule) == [("dead", 1)]
    assert kinds(rule, '[provider.p]\nmatch = [{MXSuffix = ".p.example"}]') == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (".a.example", []),
        (".a.example.", ["dead"]),
        ("a.example", ["suspicious"]),
        (".a b", ["dead"]),
    ],
)
def test_suffixes(value: str, expected: list[str]) -> None:
    found = kinds(f'[provider.p]\nmatch = [{{MXSuffix = "{value}"}}]')
    assert [kind for kind, _ in found] == expected


def pair(one: str, two: str) -> list[tuple[str, int]]:
    text = ""
    for each in (one, two):
        regex, trigger, action, duration = each.split("|")
        text += (
            f"[[default.automation]]\nregex = '{regex}'\ntrigger = {trigger}\n"
            f'action = {action}\nduration = "{duration}"\n'
        )
    return kinds(text)


RATE = '{SetConfig = {name = "max_message_rate", value = "1/min"}}'


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (
            'busy|"Immediate"|"Suspend"|2h',
            '421 busy|{Threshold="3/h"}|"Suspend"|1h',
            [("shadowed", 6)],
        ),
        ('busy|"Immediate"|"Suspend"|2h', f'421 busy|"Immediate"|{RATE}|1h', [("shadowed", 6)]),
        (
            '421 busy|"Immediate"|"Suspend"|2h',
            'busy|"Immediate"|"Suspend"|1h',
            [("overlapping", 6)],
        ),
        (
            'busy|{Threshold="3/h"}|"Suspend"|2h',
            'busy|"Immediate"|"Suspend"|1h',
            [("overlapping", 6)],
        ),
        ('busy|"Immediate"|"Suspend"|1h', f'full|"Immediate"|{RATE}|1h', []),
    ],
)
def test_shadowed_and_overlapping(one: str, two: str, expected: list[tuple[str, int]]) -> None:
    assert pair(one, two) == expected


def test_settings_that_hide_bind_never_or_loosen() -> None:
    assert kinds("[default]\nconnection_limit = 1", "[default]\nconnection_limit = 2") == [
        ("shadowed", 2)
    ]
    assert kinds("[default]\nconnection_limit = 9\nprovider_connection_limit = 5") == [
        ("never-binds", 2)
    ]
    assert kinds("[default]\nmax_ready = 9") == [("no-effect", 2)]
    base = '[default]\nmax_message_rate = "1/h"\n'
    loose = f'{base}[[default.automation]]\nregex = "x"\naction = {RATE}\nduration = "1h"'
    assert kinds(loose) == [("loosens", 3)]


def test_providers_that_claim_the_same_hosts() -> None:
    text = '[provider.a]\nmatch = [{MXSuffix = ".x.example"}]\n[provider.b]\nmatch = [{HostName = "mx.x.example"}]'
    assert kinds(text) == [("overlapping", 4)]


def test_bounce_classes_that_are_never_reached() -> None:
    assert kinds('[rules]\nA = ["full"]\nB = ["mailbox full", "other"]') == [("shadowed", 3)]


def test_patterns_that_no_real_reply_matches() -> None:
    text = '[[default.automation]]\nregex = ["busy", "gone"]\naction = "Suspend"\nduration = "1h"'
    found = check_rules(read_rule_set([("f", text)]), TODAY, ["421 busy"])
    assert [(each.kind, "gone" in each.message) for each in found] == [
        (FindingKind.NEVER_MATCHED, True)
    ]
