"""Read a text file that somebody named: what fails is said with the file's name."""

from __future__ import annotations

__all__ = ("read_text",)

from pathlib import Path

from engine.errors import InputError, Place


def read_text(path: Path) -> str:
    """Read a file. Raises: InputError: it can't be read, or isn't UTF-8."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"can't read the file: {reason}", Place(str(path))) from error
    except UnicodeDecodeError as error:
        raise InputError("the file isn't UTF-8", Place(str(path)), "save it as UTF-8") from error
