"""What filters and readers dislike in a subject line and its mail, beside what providers demand. Practice, not law."""

from __future__ import annotations

__all__ = ("subject_hints",)

import re
from typing import Final

_SHOWN: Final = 60  # characters that most telephones show of a subject
_LOUD: Final = 0.5
_LETTERS_MIN: Final = 8
_ANSWERS = re.compile(r"\s*(?:re|fwd?|odp|aw|wg)\s*:", re.IGNORECASE)
_PRESSURE = re.compile(
    r"\b(?:100 ?% free|act now|buy now|free money|winner|urgent|guaranteed|no risk"
    r"|za darmo|wygrałeś|pilne|gwarantowan\w+)\b",
    re.IGNORECASE,
)


def subject_hints(subject: str) -> list[tuple[str, str]]:
    """Tell what is risky in a subject line, and how to mend it."""
    found: list[tuple[str, str]] = []
    letters = [char for char in subject if char.isalpha()]
    loud = sum(char.isupper() for char in letters)
    if not subject.strip():
        found.append(("the subject is empty", "say in it what the mail is about"))
    if len(subject) > _SHOWN:
        told = f"the subject has {len(subject)} characters; telephones show about {_SHOWN}"
        found.append((told, "put what matters first"))
    if len(letters) >= _LETTERS_MIN and loud / len(letters) > _LOUD:
        found.append(("the subject shouts: most letters are capitals", "write as in a sentence"))
    if subject.count("!") > 1 or "$$" in subject:
        found.append(("the subject has signs of spam (!!, $$)", "leave them out"))
    if _ANSWERS.match(subject):
        found.append(("the subject pretends to be an answer", "leave out `Re:` or `Fwd:`"))
    if pressure := _PRESSURE.search(subject):
        found.append((f"filters know {pressure[0]!r} well", "say it with your own words"))
    return found
