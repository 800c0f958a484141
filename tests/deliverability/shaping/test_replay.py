"""Replay: recorded replies say which rules would have matched and fired."""

from pathlib import Path

import pytest

from deliverability.shaping.reading import read_rule_set
from deliverability.shaping.replay import parse_replies, replay
from engine.errors import InputError

CORPUS = Path(__file__).parents[4] / "shared" / "corpora"

RULES = read_rule_set(
    [
        (
            "f.toml",
            """
[provider.p]
match = [{MXSuffix = ".p.example"}, {Domain = "p.example"}]
[[provider.p.automation]]
regex = "busy"
trigger = {Threshold = "2/min"}
action = "Suspend"
duration = "1h"
""",
        )
    ]
)


def test_a_table_is_matched_in_scope_and_elsewhere() -> None:
    table = (
        "id\tprovider\tcode\ttext\ttime_ms\n1\tp.example\t421\tbusy\t0\n2\tmx.p.example\t\t421 busy\t1\n"
        "3\tp\t421\tbusy\t2\n4\tq.example\t421\tbusy\t3\n5\tp.example\t250\tok\t4\n6\tp.example\t421\tbusy\t5\n"
    )
    report = replay(RULES, parse_replies(table, "t.tsv"))
    rule = report.rules[0]
    assert (rule.matched, rule.matched_elsewhere, rule.fired) == (4, 1, 1)
    assert (report.replies, report.matched) == (6, 4)
    assert report.firings[0].since_ms == 5


def test_plain_lines_are_replies_too() -> None:
    replies = parse_replies("421 busy\n\n550 no\n", "r.txt")
    assert [(each.text, each.line) for each in replies] == [("421 busy", 1), ("550 no", 3)]


def test_a_table_without_text_is_refused() -> None:
    with pytest.raises(InputError, match="no column text"):
        parse_replies("a\tb\n1\t2", "t.tsv")
    with pytest.raises(InputError, match="time_ms"):
        parse_replies("text\ttime_ms\nx\tsoon", "t.tsv")


@pytest.mark.shared
@pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared beside the checkout")
def test_the_corpus_shows_what_the_dead_rules_miss() -> None:
    folder = CORPUS / "provider-rules" / "kumomta"
    names = ("policy-extras-shaping.toml", "community-shaping.toml")
    rules = read_rule_set((name, (folder / name).read_text("utf-8")) for name in names)
    text = (CORPUS / "smtp-replies" / "replies.tsv").read_text("utf-8")
    report = replay(rules, parse_replies(text, "replies.tsv"))
    by_line = {(each.place.file, each.place.line): each for each in report.rules}
    assert by_line["community-shaping.toml", 33].matched == 0
    assert by_line["community-shaping.toml", 33].matched_elsewhere >= 1
    assert by_line["policy-extras-shaping.toml", 72].fired >= 1
    assert report.replies > 700
