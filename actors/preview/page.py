"""A preview as a page: each language on a wide and a narrow screen, as text, with headers, links and hints.

It loads nothing: the mail stands in a frame that may run nothing, and the page's policy forbids all requests, so that
images of the mail show as their alternative text, as in a reader that blocks them.
"""

from __future__ import annotations

__all__ = ("render", "write_page")

from importlib.resources import files
from pathlib import Path

import minijinja
import msgspec

from actors.preview.rendering import Preview
from engine.errors import InputError, Place


def render(made: Preview) -> str:
    """Make the page."""
    folder = files(__package__)
    environment = minijinja.Environment(
        templates={"page.html": folder.joinpath("page.html").read_text("utf-8")}
    )
    page = environment.render_template(
        "page.html",
        css=folder.joinpath("page.css").read_text("utf-8"),
        preview=msgspec.to_builtins(made),
    )
    assert isinstance(page, str)
    return page


def write_page(made: Preview, path: Path) -> None:
    """Write the page. Raises: InputError: it can't be written."""
    try:
        path.write_text(render(made), encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Place(file=str(path))) from None
