"""Templates written in MJML become HTML when they are published: responsive tables that mail readers understand.

Placeholders and conditions of the template language stand in texts and attributes as they are; around whole components
they stand in `<mj-raw>`. Nothing is included from elsewhere.
"""

from __future__ import annotations

__all__ = ("MJML_CHARS_MAX", "compile_mjml")

from typing import Final

import mrml

from engine.errors import InputError, Place

MJML_CHARS_MAX: Final = 400_000
"""A longer text is refused."""


def compile_mjml(text: str, file: str = "") -> str:
    """Give the HTML of an MJML text. Raises: InputError: it can't be read as MJML."""
    place = Place(file=file)
    if len(text) > MJML_CHARS_MAX:
        raise InputError(f"the MJML has more than {MJML_CHARS_MAX} characters", place)
    options = mrml.ParserOptions(include_loader=mrml.noop_loader())
    try:
        return str(mrml.to_html(text, options).content)
    except OSError as error:
        mend = "it is XML: close each element, write `<br/>`, and `&lt;` for `<`"
        raise InputError(f"isn't MJML: {error}", place, mend) from error
