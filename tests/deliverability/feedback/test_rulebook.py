"""The rules as data: compiled, tried with their examples, checked for dead and shadowed ones."""

from __future__ import annotations

import pytest

from deliverability.feedback.phrases import compile_phrase, normalise
from deliverability.feedback.rulebook import check, load, shipped
from engine.errors import ConfigError

BOOK = """
[words]
box = "(mailbox|account)"
[[rule]]
id = "full"
cause = "mailbox-full"
phrases = ["{box} … full"]
unless = ["carefully"]
examples = ["552 The mailbox is full"]
"""


def test_the_shipped_rules_have_no_dead_or_shadowed_phrase_and_all_examples_hold() -> None:
    assert list(check(shipped())) == []


def test_every_shipped_rule_has_an_example_and_a_unique_id() -> None:
    rules = shipped().rules()
    assert all(rule.examples for rule in rules)
    assert len({rule.id for rule in rules}) == len(rules)


def test_a_shadowed_phrase_is_found() -> None:
    book = load(
        BOOK
        + '[[rule]]\nid = "late"\ncause = "virus"\nphrases = ["account … full"]\nexamples = []\n'
    )
    assert [(f.kind, f.rule) for f in check(book)] == [("shadowed", "late")]


def test_a_dead_phrase_is_found() -> None:
    book = load(
        BOOK
        + '[[rule]]\nid = "dead"\ncause = "virus"\nphrases = ["worm found"]\nunless = ["found"]\nexamples = []\n'
    )
    assert [(f.kind, f.rule) for f in check(book)] == [("dead", "dead")]


def test_the_vocabulary_is_tried_apart_from_the_strong_rules_that_go_before_it() -> None:
    late = '[[rule]]\nid = "late"\ncause = "virus"\nphrases = ["account … full"]\nexamples = []\n'
    assert list(check(load(BOOK, late))) == []


def test_a_broken_vocabulary_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="vocabulary"):
        load(BOOK, "[[rule")


def test_an_example_that_another_rule_takes_is_found() -> None:
    book = load(BOOK.replace("552 The mailbox is full", "all is well"))
    assert [f.kind for f in check(book)] == ["wrong-example"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("mailbox-full", "no-such-cause", "no-such-cause"),
        ("{box}", "{bix}", "bix"),
        ("… full", "… (full", "balanced"),
        ("phrases", "frases", "frases"),
        ("[[rule]]", "[[rule", "line"),
    ],
)
def test_a_broken_rule_file_is_refused_with_the_reason(old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(BOOK.replace(old, new, 1))


@pytest.mark.parametrize(
    ("phrase", "text", "fits"),
    [
        ("mailbox … full", "the mailbox of ann is full.", True),
        ("mailbox … full", "mailboxfull", False),
        ("(no|bad) user", "bad user", True),
        ("suspend*", "suspended", True),
        ("[bl#]", "553 [bl21] no", True),
        ("spam", "antispam", False),
        ("容量", "メールボックスの容量が不足", True),
    ],
)
def test_phrases_match_what_they_say(phrase: str, text: str, fits: bool) -> None:
    compiled = compile_phrase(phrase, {})
    assert fits == bool(compiled.pattern.search(text))
    assert not fits or any(literal in text for literal in compiled.literals)


def test_a_sample_matches_its_phrase() -> None:
    for rule in shipped().rules():
        for phrase in rule.phrases:
            assert phrase.pattern.search(normalise(phrase.sample)), phrase.source


def test_continued_replies_are_joined() -> None:
    assert (
        normalise("550-5.1.1 The account\r\n550-5.1.1 does not\n550 5.1.1 exist").replace(
            "550 5.1.1 ", ""
        )
        == "the account does not exist"
    )
