"""Bounces of mailers that no corpus at hand has: `mailers.txt`, written here in the forms they use.

A block is `%%%% name | recipient=reason …` and a mail; reasons are Sisimai's words, `*` is any.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deliverability.feedback.reader import read_file
from deliverability.feedback.reading import RecipientReport


def _blocks() -> dict[str, tuple[str, bytes]]:
    text = Path(__file__).with_name("mailers.txt").read_text(encoding="utf-8")
    found = {}
    for block in text.split("%%%% ")[1:]:
        title, _, mail = block.partition("\n")
        name, _, want = title.partition(" | ")
        found[name] = (want, mail.encode())
    return found


MAILS = _blocks()


@pytest.mark.parametrize("name", MAILS)
def test_mailers_are_understood(name: str) -> None:
    """Recipients and reasons from prose alone."""
    want, mail = MAILS[name]
    reading = read_file(mail)
    assert reading.kind in ("bounce", "delay")
    found = [one for one in reading.reports if isinstance(one, RecipientReport)]
    pairs = [tuple(pair.split("=")) for pair in want.split(" ")]
    assert [one.recipient for one in found] == [recipient for recipient, _ in pairs]
    for one, (_, reason) in zip(found, pairs, strict=True):
        assert reason in ("*", one.sisimai)
