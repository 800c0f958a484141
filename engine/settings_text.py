"""From the text of a TOML file to a tree of Structs: places of keys, overrides, mistakes told in one line."""

from __future__ import annotations

__all__ = ("Source", "decode", "did_you_mean", "is_loopback", "override", "resolve_files")

import difflib
import ipaddress
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from engine.errors import ConfigError, Place

_T = TypeVar("_T", bound=msgspec.Struct)

_PREFIX = "VEREDUS_"
_VALUE_CHARS_MAX = 60
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_STEP = re.compile(r"([^.\[\]]+|\[\d+\]|\[\"[^\"]*\"\])")


class Source:
    """The text that a tree came from; turns the path of a key into a place."""

    def __init__(self, text: str, file: str = "") -> None:
        self.text = text
        self.file = file
        self.overridden: Mapping[str, str] = {}  # path -> name of the variable that set it

    def tree(self) -> dict[str, Any]:
        """Read the TOML. TOML 1.0.

        Raises:
            ConfigError: it isn't TOML, or nested without reason.
        """
        try:
            return tomllib.loads(self.text)
        except ValueError as error:
            message = str(error)
            found = _TOML_PLACE.search(message)
            line, column = (int(found[1] or 0), int(found[2] or 0)) if found else (0, 0)
            if found and not line:
                line = self.text.count("\n") + 1
            wrong = _TOML_PLACE.sub("", message)
            place = Place(file=self.file, line=line, column=column)
            raise ConfigError(f"isn't valid TOML: {_one_line(wrong)}", place) from None
        except RecursionError:
            raise ConfigError("is nested too deeply", Place(file=self.file)) from None

    def error(self, path: str, message: str, mend: str = "") -> ConfigError:
        """Make the error that names a key by its place, or by the variable that overrides it."""
        variable = self.overridden.get(path)
        if variable is not None:
            return ConfigError(message, Place(file="environment", path=variable), mend)
        line, column = _locate(self.text, path)
        return ConfigError(message, Place(self.file, line, column, path), mend)


class _Mistake(NamedTuple):
    path: str
    message: str
    mend: str = ""


def decode(tree: Mapping[str, Any], to: type[_T], source: Source) -> _T:
    """Decode a tree to its Struct.

    Raises:
        ConfigError: the first mistake in the order of the Struct's fields.
    """
    try:
        return msgspec.convert(tree, to)
    except (msgspec.ValidationError, RecursionError) as error:
        mistake = _mistake(tree, to, "") or _Mistake("", _one_line(str(error)))
        raise source.error(*mistake) from None


def override(
    tree: dict[str, Any], root: type[msgspec.Struct], environ: Mapping[str, str]
) -> dict[str, str]:
    """Set what `VEREDUS_SECTION__KEY` variables say, and tell which paths they set.

    A variable without `__` is ours only when it names a key of the top level: orchestrators make names like
    `VEREDUS_PORT_8025_TCP` for a service called veredus.

    Raises:
        ConfigError: a variable names no key, or its value isn't what the key wants.
    """
    overridden = {}
    fields = msgspec.structs.fields(root)
    top = {f"{_PREFIX}{field.name.upper()}" for field in fields if not _is_section(field.type)}
    for name in sorted(environ):
        if name.startswith(_PREFIX) and ("__" in name or name in top):
            overridden[_override_one(tree, root, name, environ[name])] = name
    return overridden


def _override_one(tree: dict[str, Any], root: type[msgspec.Struct], name: str, text: str) -> str:
    place = Place(file="environment", path=name)
    node: Any = tree
    kind: Any = root
    path = ""
    steps = name.removeprefix(_PREFIX).lower().split("__")
    for number, step in enumerate(steps):
        inner = _inner(kind, step, node)
        if inner is None:
            mend = did_you_mean(step, _names(kind))
            written = ".".join(steps[: number + 1])
            raise ConfigError(f"there is no key {written!r}", place, mend)
        path = _join(path, step) if not isinstance(node, list) else f"{path}[{step}]"
        key: Any = int(step) if isinstance(node, list) else step
        if isinstance(node, list) and key == len(node):
            node.append({})
        if number == len(steps) - 1:
            if _is_section(inner):
                raise ConfigError(f"{path!r} is a section, not a key", place)
            node[key] = _value(text, inner, place)
            return path
        if isinstance(node, dict) and key not in node:
            node[key] = [] if _element(inner) is not None else {}
        node, kind = node[key], inner
    raise AssertionError("split never gives an empty list")


def _value(text: str, kind: Any, place: Place) -> Any:
    """Read the value of a variable as its key's type wants it: text as it stands, all else as TOML would write it."""
    plain = _bare(kind)
    wants_text = plain is str or (
        get_origin(plain) is Literal and isinstance(get_args(plain)[0], str)
    )
    value: Any = text
    if not wants_text:
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            value = text
    mistake = _mistake(value, kind, "")
    if mistake:
        raise ConfigError(mistake.message, place, mistake.mend)
    return value


def resolve_files(tree: dict[str, Any], to: type[msgspec.Struct], file: str) -> None:
    """Join the file names in a valid tree to the folder of the configuration file."""
    folder = PurePath(file).parent if file else PurePath()
    for field in msgspec.structs.fields(to):
        value = tree.get(field.name)
        if value is None:
            if _is_file(field.type) and field.default:
                tree[field.name] = str(folder / field.default)
        elif _is_file(field.type):
            tree[field.name] = str(folder / value) if value else ""
        elif _struct(field.type) is not None:
            resolve_files(value, field.type, file)
        elif isinstance(value, list) and _is_file(_element(field.type)):
            tree[field.name] = [str(folder / item) for item in value]
        elif isinstance(value, list) and _struct(_element(field.type)) is not None:
            for item in value:
                resolve_files(item, _element(field.type), file)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word, or nothing."""
    near = difflib.get_close_matches(word[:_VALUE_CHARS_MAX], list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


# ---- the first mistake


def _mistake(value: Any, kind: Any, path: str) -> _Mistake | None:
    """Find the first mistake by walking value and type together; msgspec's own paths leave out keys of tables."""
    struct, element, table = _struct(kind), _element(kind), _table(kind)
    if struct is not None and isinstance(value, dict):
        return _mistake_in_struct(value, struct, path)
    if table is not None and isinstance(value, dict):
        for key, item in value.items():
            found = _leaf(key, table[0], _join(path, key)) or _mistake(
                item, table[1], _join(path, key)
            )
            if found:
                return found
    elif element is not None and isinstance(value, list):
        for index, item in enumerate(value):
            found = _mistake(item, element, f"{path}[{index}]")
            if found:
                return found
    return _leaf(value, kind, path)


def _mistake_in_struct(
    value: Mapping[str, Any], struct: type[msgspec.Struct], path: str
) -> _Mistake | None:
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    for key in value:
        if key not in fields:
            what = "key" if path else "key or section"
            return _Mistake(_join(path, key), f"unknown {what}", did_you_mean(key, fields))
    for name, field in fields.items():
        if name in value:
            found = _mistake(value[name], field.type, _join(path, name))
            if found:
                return found
        elif field.required:
            return _Mistake(path, f"the key {name!r} is missing", _expected(field.type))
    return None


def _leaf(value: Any, kind: Any, path: str) -> _Mistake | None:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        shown = repr(value)
        shown = shown if len(shown) <= _VALUE_CHARS_MAX else f"{shown[:_VALUE_CHARS_MAX]}…"
        plain = _bare(kind)
        if get_origin(plain) is Literal:
            known = [str(choice) for choice in get_args(plain)]
            listed = ", ".join(repr(choice) for choice in get_args(plain))
            return _Mistake(
                path, f"expected one of {listed}, got {shown}", did_you_mean(str(value), known)
            )
        if " matching regex " in str(error):
            return _Mistake(path, f"expected {_description(kind)}, got {shown}")
        return _Mistake(path, f"{_wanted(str(error), kind)}, got {shown}")
    return None


_WORDS = {
    "array": "an array",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a text",
}


def _wanted(message: str, kind: Any) -> str:
    """Say what msgspec expected in the words of TOML."""
    if not message.startswith("Expected"):
        return f"expected {_description(kind)}"
    wanted = message.partition(", got ")[0].partition(" - at ")[0].removeprefix("Expected ")
    words = re.sub(r"`([a-z| ]+)`", lambda found: _in_words(found[1]), wanted)
    return f"expected {_one_line(words)}"


def _in_words(kinds: str) -> str:
    return " or ".join(_WORDS.get(kind.strip(), kind.strip()) for kind in kinds.split("|"))


# ---- asking types


def _bare(kind: Any) -> Any:
    return _bare(kind.__origin__) if get_origin(kind) is Annotated else kind


def _metas(kind: Any) -> tuple[msgspec.Meta, ...]:
    if get_origin(kind) is Annotated:
        return tuple(meta for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta))
    return ()


def _description(kind: Any) -> str:
    return next((meta.description for meta in _metas(kind) if meta.description), "another form")


def _expected(kind: Any) -> str:
    return f"it is {_description(kind)}" if _metas(kind) else ""


def _is_file(kind: Any) -> bool:
    return any((meta.extra or {}).get("file") for meta in _metas(kind))


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    plain = _bare(kind)
    return plain if isinstance(plain, type) and issubclass(plain, msgspec.Struct) else None


def _is_section(kind: Any) -> bool:
    return bool(_struct(kind) or _table(kind) or _struct(_element(kind)))


def _element(kind: Any) -> Any:
    """Give the type of the items of an array, also of `array or something else`; None when it is no array."""
    plain = _bare(kind)
    if get_origin(plain) in (Union, types.UnionType):
        return next(filter(None, map(_element, get_args(plain))), None)
    return get_args(plain)[0] if get_origin(plain) is tuple else None


def _table(kind: Any) -> tuple[Any, Any] | None:
    plain = _bare(kind)
    return get_args(plain) if get_origin(plain) is dict else None


def _names(kind: Any) -> list[str]:
    struct = _struct(kind)
    return [field.name for field in msgspec.structs.fields(struct)] if struct else []


def _inner(kind: Any, step: str, node: Any) -> Any:
    """Give the type below one step of a path; None when there is no such step."""
    struct, table, element = _struct(kind), _table(kind), _element(kind)
    if struct is not None:
        return next((f.type for f in msgspec.structs.fields(struct) if f.name == step), None)
    if table is not None and step and _leaf(step, table[0], "") is None:
        return table[1]
    if element is not None and isinstance(node, list) and _struct(element) is not None:
        return (
            element if re.fullmatch(r"\d{1,4}", step, re.ASCII) and int(step) <= len(node) else None
        )
    return None


# ---- where keys stand


def _join(path: str, key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", key, re.ASCII)
    step = key if plain else f'["{_one_line(key)[:_VALUE_CHARS_MAX]}"]'
    return f"{path}.{step}" if path and plain else f"{path}{step}"


def _locate(text: str, path: str) -> tuple[int, int]:
    """Find line and column of a key, or of the nearest table around it; (0, 0) when neither is written down."""
    places = _places(text)
    steps = _STEP.findall(path)
    while steps:
        found = places.get(tuple(steps))
        if found:
            return found
        steps.pop()
    return 0, 0


def _places(text: str) -> dict[tuple[str, ...], tuple[int, int]]:
    """Map each key and header to line and column, by a reading of lines that knows texts over several lines."""
    places: dict[tuple[str, ...], tuple[int, int]] = {}
    counts: dict[tuple[str, ...], int] = {}
    prefix: tuple[str, ...] = ()
    quote = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not quote:
            header, assignment = _HEADER.match(line), _ASSIGNMENT.match(line)
            if header:
                prefix = _header_path(_keys(header[2]), header[1] == "[[", counts)
                places.setdefault(prefix, (number, header.start(1) + 1))
            elif assignment:
                steps = (*prefix, *_keys(assignment[1]))
                places.setdefault(steps, (number, assignment.start(1) + 1))
        quote = _open_quote(line, quote)
    return places


def _header_path(
    keys: tuple[str, ...], is_array: bool, counts: dict[tuple[str, ...], int]
) -> tuple[str, ...]:
    """Put the index of the latest element behind each name of an array of tables."""
    steps: tuple[str, ...] = ()
    for number, key in enumerate(keys):
        steps = (*steps, key)
        if is_array and number == len(keys) - 1:
            counts[steps] = counts.get(steps, -1) + 1
        if steps in counts:
            steps = (*steps, f"[{counts[steps]}]")
    return steps


def _keys(dotted: str) -> tuple[str, ...]:
    """Split a dotted key; a quoted one that isn't a bare word looks as in `_join`."""
    keys = []
    for found in re.finditer(_KEY, dotted):
        word = found[0]
        if word[0] in "\"'":
            word = word[1:-1]
            word = word if re.fullmatch(r"[A-Za-z0-9_-]+", word, re.ASCII) else f'["{word}"]'
        keys.append(word)
    return tuple(keys)


def _open_quote(line: str, quote: str) -> str:
    """Tell which multi-line quote is open after a line, given the one open before it."""
    at = 0
    while True:
        if quote:
            end = line.find(quote, at)
            if end < 0:
                return quote
            at, quote = end + 3, ""
        starts = [(line.find(mark, at), mark) for mark in ('"""', "'''")]
        found = min((start for start in starts if start[0] >= 0), default=None)
        if found is None or "#" in line[at : found[0]]:
            return ""
        at, quote = found[0] + 3, found[1]


def _one_line(text: str) -> str:
    return " ".join(text.split()) if text.isprintable() else repr(text)[1:-1]
