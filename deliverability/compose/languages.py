"""Templates in several languages: texts by language, written out at publish, and plural forms.

A template may have texts by language and key; `{{ t.key }}` is where one stands. They are written into the sources
once, so that each language is a template of its own and nothing is looked up per message. Texts are in the language
of templates too. In HTML what isn't a tag of theirs is escaped.

    subject = "{{ t.waits }}"
    language = "en"                       # who has none of the languages gets this one
    [texts.en]
    waits = "{{ plural(event.items, one='# thing', other='# things') }}"
    [texts.pl]
    waits = "{{ plural(event.items, one='# rzecz', few='# rzeczy', many='# rzeczy', other='# rzeczy') }}"

`plural` knows the categories of Unicode's CLDR for each language (of English: one, other; of Polish: one, few, many,
other), and puts the number for `#` as the language writes it. A form that is missing is a mistake of the template.
"""

from __future__ import annotations

__all__ = (
    "DEFAULT_LANGUAGE",
    "check_plurals",
    "language_of",
    "languages_of",
    "plural_function",
    "written_in",
)

import html
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Final

import msgspec
from babel.core import Locale, UnknownLocaleError
from babel.numbers import format_decimal

from deliverability.compose.lexer import Data, Tag, lex, normal_source, to_source
from deliverability.compose.template import ExtraHeader, Template
from engine.errors import InputError, Place

DEFAULT_LANGUAGE: Final = "en"
_TEXT = re.compile(r"\{\{ t\.([A-Za-z_][A-Za-z0-9_]*) \}\}").fullmatch
_USE = re.compile(r"\{\{[-+]?\s*t\.([A-Za-z_][A-Za-z0-9_]*)\s*[-+]?\}\}")
_LEFT = re.compile(r"\{[{%][^%{}'\"]*(?<![\w.])t\.\w+[^{}'\"]*[%}]\}")
_PLURAL = re.compile(r"\bplural\s*\(")
_INSIDE = re.compile(r"""(?:"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[(\[{]|[)\]}])""", re.DOTALL)
_FORM = re.compile(r"\b(zero|one|two|few|many|other)\s*=(?!=)")
_WRITTEN = re.compile(r"contact\.language[^%{}]*?==\s*['\"]([a-z]{2,3}(?:-[A-Za-z]{2,4})?)['\"]")
_PLAIN_MAX: Final = 1000  # a number below it is written alike everywhere


@cache
def _locale(language: str) -> Locale:
    """Find a language. Raises: ValueError, UnknownLocaleError."""
    return Locale.parse(language.replace("-", "_"))


def _known(language: str, name: str, path: str) -> Locale:
    try:
        return _locale(language)
    except (ValueError, UnknownLocaleError):
        mend = "write a code such as `en`, `pl` or `pt-BR`"
        raise InputError(f"{language!r} is no language", Place(name, path=path), mend) from None


def languages_of(template: Template) -> tuple[str, ...]:
    """List the languages a template is written in, its own first.

    Where it has no texts, those that its sources ask for: `contact.language == 'pl'`.
    """
    own = template.language or DEFAULT_LANGUAGE
    if template.texts:
        return tuple(dict.fromkeys((own, *template.texts)))
    sources = (template.subject, template.html, template.text or "")
    asked = sorted({found for source in sources for found in _WRITTEN.findall(source)})
    return tuple(dict.fromkeys((own, *asked)))


def language_of(variables: Mapping[str, object], known: Iterable[str]) -> str:
    """Choose among the languages of a template for one letter; "" where none fits.

    It goes by the variable `language`, else by `contact.language`: `pt-BR`, else `pt`.
    """
    wanted = variables.get("language")
    contact = variables.get("contact")
    if wanted is None and isinstance(contact, Mapping):
        wanted = contact.get("language")
    if not isinstance(wanted, str):
        return ""
    wanted = wanted.replace("_", "-").lower()
    by_name = {one.lower(): one for one in known}
    return by_name.get(wanted) or by_name.get(wanted.partition("-")[0], "")


def written_in(template: Template, language: str) -> Template:
    """Write the texts of a language into a template, which then has none.

    Raises:
        InputError: a text that is used isn't there, or a language isn't one.
    """
    _known(language, template.name, "language")
    if not template.texts:
        return msgspec.structs.replace(template, language=language)
    texts = template.texts.get(language)
    if texts is None:
        known = ", ".join(template.texts)
        mend = f"texts are there in {known}"
        raise InputError(f"has no texts in {language!r}", Place(template.name, path="texts"), mend)
    for used in sorted(_used(template)):
        if used not in texts:
            place = Place(template.name, path=f"texts.{language}")
            raise InputError(f"the text {used!r} is missing", place, f"add `{used} = …`")

    def write(source: str, *, escape: bool = False) -> str:
        made = _written(source, texts, escape=escape)
        if found := _LEFT.search(made):
            mend = "write `{{ t.key }}` alone, and put filters into the text"
            raise InputError(f"`{found[0].strip()}` is no text", Place(template.name), mend)
        return made

    return msgspec.structs.replace(
        template,
        subject=write(template.subject),
        html=write(template.html, escape=True),
        text=None if template.text is None else write(template.text),
        from_name=write(template.from_name),
        headers=tuple(ExtraHeader(one.name, write(one.value)) for one in template.headers),
        language=language,
        texts={},
    )


def _used(template: Template) -> set[str]:
    headers = (one.value for one in template.headers)
    sources = (template.subject, template.html, template.text or "", template.from_name, *headers)
    return {name for source in sources for name in _USE.findall(source)}


def _written(source: str, texts: Mapping[str, str], *, escape: bool) -> str:
    """Put texts where they are used. A source without any stays as it is, to the character."""
    if not _USE.search(source):
        return source
    made: list[str] = []
    for token in lex(normal_source(source)):
        match token:
            case Data(text=text):
                made.append(to_source(text))
            case Tag(source=tag):
                used = _TEXT(tag)
                made.append(_escaped(texts[used[1]], escape=escape) if used else tag)
    return "".join(made)


def _escaped(text: str, *, escape: bool) -> str:
    """Escape what is static in a text, but not its tags, whose values escape themselves."""
    if not escape:
        return text
    made = []
    for token in lex(normal_source(text)):
        match token:
            case Data(text=data):
                made.append(to_source(html.escape(data, quote=False)))
            case Tag(source=tag):
                made.append(tag)
    return "".join(made)


# ---- plural forms


def plural_function(language: str) -> Callable[..., str]:
    """Give the function `plural` of templates in a language."""
    locale = _locale(language)
    rule = locale.plural_form

    def plural(number: float, **forms: str) -> str:
        """Choose the form of a number, and write it for `#`."""
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            told = f"plural() counts numbers, and got {type(number).__name__}"
            raise InputError(told, mend="give it a number as its first argument")
        form = forms.get(rule(abs(number)))
        if form is None:
            form = forms["other"]
        if isinstance(number, int) and abs(number) < _PLAIN_MAX:
            return form.replace("#", str(number))
        return form.replace("#", format_decimal(number, locale=locale))

    return plural


def check_plurals(source: str, language: str, place: Place) -> None:
    """Check that each `plural` has all forms of a language. Raises: InputError."""
    needed = ["other", *sorted(_locale(language).plural_form.tags)]
    for found in _PLURAL.finditer(source):
        given = set(_FORM.findall(_arguments(source, found.end())))
        if missing := [one for one in dict.fromkeys(needed) if one not in given]:
            line = source.count("\n", 0, found.start()) + 1
            column = found.start() - source.rfind("\n", 0, found.start())
            raise InputError(
                f"plural() has no form `{missing[0]}`, which {_locale(language).english_name} needs",
                Place(place.file, line, column, place.path),
                f"give {', '.join(one for one in dict.fromkeys(needed))}",
            )


def _arguments(source: str, at: int) -> str:
    """Give what stands between the brackets of a call, without what is in quotes."""
    depth, made = 1, []
    while depth and (found := _INSIDE.search(source, at)):
        made.append(source[at : found.start()])
        if found[0] in "([{":
            depth += 1
        elif found[0] in ")]}":
            depth -= 1
        at = found.end()
    return " ".join(made)
