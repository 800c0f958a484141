"""MAP.toml: how a row of somebody's event log becomes an event of a contact.

A map says which column holds what, or gives a constant instead. It is decoded once into frozen
Structs (`Mapping`), checked for unknown and contradictory keys with the line of the mistake, and
compiled against the columns that the log really has (`actors.replay.rows`), so that a misspelt
column is found before the first row is read. `docs/event-log.md` has the whole form.
"""

from __future__ import annotations

__all__ = (
    "ADDRESS_ATTRIBUTE",
    "MAP_BYTES_MAX",
    "ZONE_ATTRIBUTE",
    "Address",
    "Consents",
    "Contact",
    "Field",
    "FieldType",
    "Identity",
    "LogFormat",
    "MapSource",
    "Mapping",
    "Named",
    "Time",
    "Zone",
    "load_mapping",
    "parse_mapping",
    "unknown_name",
)

import re
import tomllib
import types
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from engine.errors import InputError, Place

MAP_BYTES_MAX = 256 * 1024
"""A longer map is refused unread."""

ADDRESS_ATTRIBUTE = "email"
"""The contact's attribute that holds the forward-path."""

ZONE_ATTRIBUTE = "timezone"
"""The contact's attribute that holds the time zone."""

LogFormat = Literal["csv", "ndjson"]
FieldType = Literal["string", "int", "float", "bool", "money"]

_TOML_POSITION = re.compile(r"\(at line (\d+), column (\d+)\)$")
_DECODE_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_HEADER = re.compile(r"^\s*\[{1,2}\s*(?P<name>[^\[\]]+?)\s*\]{1,2}")
_KEY = re.compile(
    r"""^\s*(?P<name>(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*="""
)


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name that is the same for all rows, or the column which holds it: exactly one of the two."""

    name: str | None = None
    column: str | None = None


class Zone(Named, frozen=True, forbid_unknown_fields=True):
    """The contact's time zone, as IANA names it."""


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The column that identifies the input; two rows of one contact with the same value are one event."""

    column: str


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The column that holds the contact id."""

    column: str


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the event happened.

    `format` is `iso8601`, `epoch_s`, `epoch_ms`, or a strptime format such as `%Y%m%d`. `at` (HH:MM
    or HH:MM:SS) is the time of day for formats that have none, `zone` the zone of times that name
    none.
    """

    column: str
    format: str = "iso8601"
    at: str = ""
    zone: str = "UTC"


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The forward-path, made from columns: `{customer_id}` is a column, `{domain}` one of `domains`.

    `domains` weighs domains by whole numbers; the contact id's hash chooses, so a contact keeps its
    domain.
    """

    template: str
    domains: dict[str, Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]] = {}


class Consents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Topics that every contact of this log has granted, and where that is on record."""

    topics: list[str]
    source: str


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of the event's data or of the contact's attributes, taken from a column.

    `money` becomes a whole number of minor units: 29.33 with two `decimals` is 2933, exactly. An
    empty cell is an error unless `optional`, which leaves the value out.
    """

    column: str
    type: FieldType = "string"
    decimals: Annotated[int, msgspec.Meta(ge=0, le=4)] = 2
    optional: bool = False


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of a MAP.toml.

    `format` None goes by the log's name; `delimiter` is CSV's. What isn't mapped is left out.
    """

    event: Named
    contact: Contact
    time: Time
    format: LogFormat | None = None
    delimiter: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = ","
    id: Identity | None = None
    address: Address | None = None
    consent: Consents | None = None
    zone: Zone | None = None
    data: dict[str, Field] = {}
    attributes: dict[str, Field] = {}


class MapSource(msgspec.Struct, frozen=True):
    """A map's file name and the line of each of its keys, so that a later check can still say where."""

    file: str
    lines: dict[str, int]

    def place(self, path: str) -> Place:
        """Give the place of a dotted key, or of its nearest parent that has a line of its own."""
        at = path
        while at and at not in self.lines:
            at = at.rpartition(".")[0]
        return Place(file=self.file, line=self.lines.get(at, 0), path=path)


def load_mapping(path: Path) -> tuple[Mapping, MapSource]:
    """Read a MAP.toml.

    Raises:
        InputError: the file can't be read, isn't TOML, or isn't a map; with line and key.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAP_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"can't read the map: {error.strerror}", Place(file=str(path))) from error
    if len(raw) > MAP_BYTES_MAX:
        raise InputError(f"a map has at most {MAP_BYTES_MAX} bytes", Place(file=str(path)))
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError("the map isn't UTF-8", Place(file=str(path), line=line)) from error
    return parse_mapping(text, str(path))


def parse_mapping(text: str, file: str) -> tuple[Mapping, MapSource]:
    """Parse and check the text of a map; `file` is for messages only.

    Raises:
        InputError: not TOML, an unknown key, a wrong type, or keys that contradict each other.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(
            "the map isn't TOML: " + _first(str(error)), _toml_place(error, file)
        ) from error
    source = MapSource(file, _key_lines(text))
    _inspect(document, Mapping, "", source)
    mapping: Mapping = _decode(document, Mapping, "", source)
    _check(mapping, source)
    return mapping, source


def unknown_name(kind: str, name: str, known: list[str], place: Place) -> InputError:
    """Make the error for a name that isn't known, with the nearest known one or the whole list."""
    near = get_close_matches(name, known, n=1)
    if near:
        mend = f"did you mean `{near[0]}`?"
    else:
        shown = ", ".join(f"`{each}`" for each in known[:20])
        mend = f"known: {shown}" + (" …" if len(known) > 20 else "")
    return InputError(f"unknown {kind} `{name[:80]}`", place, mend)


def _check(mapping: Mapping, source: MapSource) -> None:
    """Refuse what the types allow and the meaning doesn't."""
    for path, named in (("event", mapping.event), ("zone", mapping.zone)):
        if named is not None and (named.name is None) == (named.column is None):
            raise InputError(
                "give either `name` (the same for all rows) or `column`", source.place(path)
            )
    if mapping.consent is not None and not all(mapping.consent.topics):
        raise InputError("a topic is empty", source.place("consent.topics"))
    for reserved, by in ((ADDRESS_ATTRIBUTE, mapping.address), (ZONE_ATTRIBUTE, mapping.zone)):
        if by is not None and reserved in mapping.attributes:
            raise InputError(
                f"`{reserved}` is given twice: here and by its own table",
                source.place(f"attributes.{reserved}"),
            )
    address = mapping.address
    if address is not None and ("{domain}" in address.template) != bool(address.domains):
        raise InputError(
            "`{domain}` in the template and the table `domains` belong together",
            source.place("address.template"),
            "use both or none",
        )


def _inspect(value: Any, expected: Any, path: str, source: MapSource) -> None:
    """Walk document and types side by side, to name a mistake with its line, which the decoder can't.

    An unknown key is told with the key that was meant; entries of a table are decoded one by one.
    """
    struct = _struct_of(expected)
    if not isinstance(value, dict):
        return
    if struct is not None:
        hints = get_type_hints(struct, include_extras=True)
        for key, inner in value.items():
            at = f"{path}.{key}" if path else key
            if key not in hints:
                raise unknown_name("key", key, list(hints), source.place(at))
            _inspect(inner, hints[key], at, source)
    elif get_origin(expected) is dict:
        for key, inner in value.items():
            _inspect(inner, get_args(expected)[1], f"{path}.{key}", source)
            _decode(inner, get_args(expected)[1], f"{path}.{key}", source)


def _decode(value: Any, expected: Any, path: str, source: MapSource) -> Any:
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        match = _DECODE_PATH.match(str(error))
        assert match is not None
        at = ".".join(part for part in (path, match["path"]) if part)
        raise InputError(match["what"], source.place(at)) from error


def _struct_of(expected: Any) -> type[msgspec.Struct] | None:
    """Find the Struct in `X` or `X | None`."""
    options = (
        get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    )
    for option in options:
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None


def _key_lines(text: str) -> dict[str, int]:
    """Find the line of each dotted key; tomllib tells no lines. Keys inside inline tables have their parent's."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _plain(header["name"])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            name = _plain(key["name"])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _toml_place(error: Exception, file: str) -> Place:
    match = _TOML_POSITION.search(str(error))
    if match is None:
        return Place(file=file)
    return Place(file=file, line=int(match[1]), column=int(match[2]))


def _first(text: str) -> str:
    return _TOML_POSITION.sub("", text).strip() or "nested too deeply"
