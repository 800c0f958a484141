"""Mails as they lie in files: single ones, mbox files (RFC 4155), maildirs, folders of any of them."""

from __future__ import annotations

__all__ = ("FILE_BYTES_MAX", "mails_in")

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE_BYTES_MAX = 1 << 30
MAIL_BYTES_MAX = 10 << 20
_BEGIN = re.compile(rb"(?:\A|\n)(?=From [^\n]{3,400}\n)")


def mails_in(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Give each mail with where it lies. What is longer than 10 MB is cut off there."""
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            skipped = file.parent.name == "tmp" or file.name.startswith("dovecot")
            if file.is_file() and not (path.is_dir() and skipped):
                yield from _mails(file)


def _mails(file: Path) -> Iterator[tuple[str, bytes]]:
    with file.open("rb") as opened:
        content = opened.read(FILE_BYTES_MAX)
    if not content.startswith(b"From "):
        yield str(file), content[:MAIL_BYTES_MAX]
        return
    plain = content.replace(b"\r\n", b"\n")
    starts = [found.end() for found in _BEGIN.finditer(plain)]
    for number, start in enumerate(starts, 1):
        end = starts[number] if number < len(starts) else len(plain)
        mail = plain[start:end].partition(b"\n")[2]  # without the line that separates
        mail = re.sub(rb"(?m)^>(>*From )", rb"\1", mail)  # mboxrd
        yield f"{file}:{number}", mail.rstrip(b"\n")[:MAIL_BYTES_MAX] + b"\n"
