"""The reference of the configuration, made from its Structs: `docs/configuration.md`. Pure.

python -c "import engine.settings_reference as r; print(r.reference(), end='')" > docs/configuration.md
"""

from __future__ import annotations

__all__ = ("reference",)

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from engine import config

_OPENING = """\
# Configuration

<!-- Made from engine/config.py by engine/settings_reference.py; a test compares them. Don't edit. -->

One TOML file, `veredus.toml`, is read once when an instance starts. `veredus init` writes one with comments. Whatever
is left out has the default shown here. An unknown key, a wrong type or a value out of range is one line that names
file, line and key, and ends the command with exit status 2.

Every key can be overridden by a variable of the environment: `VEREDUS_`, then the path of the key in capitals, with two
underscores between its parts: `VEREDUS_HTTP__PORT=9000`, `VEREDUS_STREAMS__NEWS__IN_DOUBT=hold`,
`VEREDUS_TENANT__0__FROM_NAME=Shop` (the number of the `[[tenant]]`, from 0). Text is written as it stands, everything
else as in TOML: `VEREDUS_DELIVERY__ALLOW='["@example.com"]'`. Variables without two underscores are left alone, except
`VEREDUS_DATA_DIR`.

File names are relative to the folder of the configuration file (in a variable: to the working directory).
"""

_NAMES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
}


def reference() -> str:
    """Make the page as Markdown."""
    parts = [_OPENING]
    for path, struct, note in _sections(config.Config, ""):
        title = f"`{path}`" if path else "Top level"
        rows = "".join(_rows(struct))
        about = inspect.cleandoc(struct.__doc__ or "")
        parts.append(f"\n## {title}\n\n{about}{note}\n\n{_HEAD}{rows}")
    parts.append(_built_in("Streams", "streams", config.DEFAULT_STREAMS))
    parts.append(_built_in("Retry curves", "delivery.retry", config.DEFAULT_RETRY))
    return "".join(parts)


_HEAD = "| key | type | default | range | meaning |\n|---|---|---|---|---|\n"


def _sections(
    struct: type[msgspec.Struct], path: str, note: str = ""
) -> Iterator[tuple[str, type[msgspec.Struct], str]]:
    """List a Struct and, behind it, all that its fields lead to."""
    yield path, struct, note
    for field in msgspec.structs.fields(struct):
        kind = _bare(field.type)
        inner, name = _inner(kind)
        if inner is None:
            continue
        below = f"{_stem(path)}{field.name}"
        if get_origin(kind) is tuple:
            below, note = f"[[{below}]]", " Written once for each."
        elif get_origin(kind) is dict:
            below, note = f"[{below}.{name}]", ""
        else:
            below, note = f"[{below}]", ""
        about = _description(field.type)
        note = f" {_sentence(about)}{note}" if about else note
        yield from _sections(inner, below, note)


def _stem(path: str) -> str:
    return f"{path.strip('[]')}." if path else ""


def _inner(kind: Any) -> tuple[type[msgspec.Struct] | None, str]:
    """Find the Struct that a field's type holds, and how its key is called when it is a table of them."""
    arguments = get_args(kind)
    candidate = kind
    name = ""
    if get_origin(kind) is tuple:
        candidate = _bare(arguments[0])
    elif get_origin(kind) is dict:
        candidate, name = (
            _bare(arguments[1]),
            '"<domain>"' if "@" in _example(arguments[0]) else "<name>",
        )
    found = isinstance(candidate, type) and issubclass(candidate, msgspec.Struct)
    return (candidate if found else None), name


def _example(kind: Any) -> str:
    return "@" if "A-labels" in _description(kind) else ""


def _rows(struct: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        if _inner(_bare(field.type))[0] is not None:
            continue
        about = _sentence(_description(field.type))
        default = "required" if field.required else _literal(_default(field))
        cells = (f"`{field.name}`", _kind(field.type), default, _range(field.type), about)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _literal(value: Any) -> str:
    """Write a value as in TOML."""
    match value:
        case None:  # a key that TOML can only leave out
            return ""
        case str():
            return f'`"{value}"`'
        case tuple():
            return f"`[{', '.join(_literal(one).strip('`') for one in value)}]`"
        case bool():
            return f"`{str(value).lower()}`"
        case _:
            return f"`{value}`"


def _kind(kind: Any) -> str:
    plain = _bare(kind)
    origin = get_origin(plain)
    if origin is Literal:
        return " or ".join(_literal(choice) for choice in get_args(plain))
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in get_args(plain) if part is not types.NoneType)
    if origin is tuple:
        about = _description(get_args(plain)[0])
        return f"array of texts ({about})" if about else "array of texts"
    if any((meta.extra or {}).get("file") for meta in _metas(kind)):
        return "file name"
    return _NAMES[plain]


def _range(kind: Any) -> str:
    bounds = [""]
    for meta in _metas(kind):
        if meta.ge is not None and meta.le is not None:
            bounds.append(f"{meta.ge:,} to {meta.le:,}")
        if meta.max_length is not None:
            bounds.append(f"at most {meta.max_length} characters")
    return bounds[-1]


def _built_in(title: str, path: str, values: Mapping[str, msgspec.Struct]) -> str:
    """List the values that exist without being written."""
    keys = [field.name for field in msgspec.structs.fields(next(iter(values.values())))]
    head = f"| name | {' | '.join(f'`{key}`' for key in keys)} |\n|{'---|' * (len(keys) + 1)}\n"
    rows = "".join(
        f"| `{name}` | {' | '.join(_literal(getattr(value, key)) for key in keys)} |\n"
        for name, value in values.items()
    )
    return f"\n## {title} that exist without being written\n\nUnder `{path}`.\n\n{head}{rows}"


def _bare(kind: Any) -> Any:
    return _bare(kind.__origin__) if get_origin(kind) is Annotated else kind


def _metas(kind: Any) -> tuple[msgspec.Meta, ...]:
    if get_origin(kind) is not Annotated:
        return ()
    return tuple(meta for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta))


def _description(kind: Any) -> str:
    return next((meta.description for meta in reversed(_metas(kind)) if meta.description), "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("." if text else "")
