"""One row of an event log, and how the cells of a foreign row become one.

A map is compiled against the columns of a log into a `RowMapper`, so that a column which doesn't
exist is found before the first row is read, and a row costs one call for each cell in use.
"""

from __future__ import annotations

__all__ = ("Columns", "Getter", "LogRow", "RowMapper")

from collections.abc import Callable
from functools import partial
from string import Formatter
from typing import Any, Protocol, TypeVar

import msgspec

from actors.replay.cells import (
    Cell,
    CellError,
    address_cell,
    contact_cell,
    event_name_cell,
    field_converter,
    input_id_cell,
    pick_domain,
    time_converter,
    zone_cell,
)
from actors.replay.mapping import (
    ADDRESS_ATTRIBUTE,
    ZONE_ATTRIBUTE,
    Address,
    Field,
    Mapping,
    MapSource,
    Named,
    unknown_name,
)
from engine.errors import InputError, Place
from engine.ids import row_input_id
from engine.vocabulary import ConsentGiven, Event

T = TypeVar("T")

Getter = Callable[[Any], Cell]
"""Takes one cell out of a raw row; None where there is none."""


class Columns(Protocol):
    """What the columns of a log are."""

    def find(self, name: str) -> Getter | None:
        """Give the way to a column's cell, or None when there is no such column."""

    def names(self) -> list[str]:
        """Give all names, for a suggestion."""


class LogRow(msgspec.Struct, frozen=True, array_like=True):
    """One event of a log, with what the log says about its contact.

    `attributes` and `consents` are to be put before the event. A map gives the same ones on each
    row of a contact, so it is enough to put them when they differ from what the contact's last row
    said.
    """

    input_id: bytes
    contact: str
    event: Event
    attributes: dict[str, Any] = {}
    consents: tuple[ConsentGiven, ...] = ()


class _Part(msgspec.Struct, frozen=True):
    """One value in use: the column, how to find its cell, what to make of it, and the value when it is constant."""

    column: str
    get: Getter
    convert: Callable[[Cell], Any]
    optional: bool = False


class RowMapper:
    """Makes a `LogRow` of the cells of one row.

    Raises: InputError: (when made) a column of the map doesn't exist, or a rule contradicts itself;
        with the map's line.
    """

    def __init__(self, mapping: Mapping, source: MapSource, columns: Columns) -> None:
        self._source = source
        self._columns = columns
        self._contact = self._part(mapping.contact.column, "contact.column", contact_cell)
        self._event = self._named(mapping.event, "event", event_name_cell)
        time = self._rule(lambda: time_converter(mapping.time), "time")
        self._time = self._part(mapping.time.column, "time.column", time)
        identity = mapping.id
        self._id = self._part(identity.column, "id.column", input_id_cell) if identity else None
        self._data = self._fields(mapping.data, "data")
        self._attributes = self._fields(mapping.attributes, "attributes")
        if mapping.zone is not None:
            self._attributes[ZONE_ATTRIBUTE] = self._named(mapping.zone, "zone", zone_cell)
        self._address = self._address_parts(mapping.address) if mapping.address else []
        self._domains = mapping.address.domains if mapping.address else {}
        self._topics = mapping.consent.topics if mapping.consent else []
        self._consent_source = mapping.consent.source if mapping.consent else ""

    def row(self, raw: Any, place: Place, digest: bytes, number: int) -> LogRow:
        """Map one raw row, the `number`th (from 1) of the file with this digest.

        Raises:
            InputError: a cell isn't what the map says; with file, line and column.
        """
        contact = _take(self._contact, raw, place)
        at = _take(self._time, raw, place)
        event = Event(_take(self._event, raw, place), at, _collect(self._data, raw, place))
        input_id = _take(self._id, raw, place) if self._id else row_input_id(digest, number)
        attributes = _collect(self._attributes, raw, place)
        if self._address:
            attributes[ADDRESS_ATTRIBUTE] = self._make_address(contact, raw, place)
        consents = tuple(
            ConsentGiven(topic, granted=True, at=at, source=self._consent_source)
            for topic in self._topics
        )
        return LogRow(input_id, contact, event, attributes, consents)

    def _make_address(self, contact: str, raw: Any, place: Place) -> str:
        domain = pick_domain(contact, self._domains) if self._domains else ""
        pieces = [
            _take(piece, raw, place) if isinstance(piece, _Part) else piece or domain
            for piece in self._address
        ]
        try:
            return address_cell("".join(pieces))
        except CellError as error:
            raise InputError(str(error), _at(place, "address")) from error

    def _address_parts(self, address: Address) -> list[str | _Part]:
        """Cut a template into text and columns; an empty text stands for the domain, which the contact's hash fills."""
        parts: list[str | _Part] = []
        place = self._source.place("address.template")
        try:
            pieces = list(Formatter().parse(address.template))
        except ValueError as error:
            raise InputError(f"the template isn't well-formed: {error}", place) from error
        for text, column, form, conversion in pieces:
            if text:
                parts.append(text)
            if column is None:
                continue
            if form or conversion:
                raise InputError("a column in the template is only its name in braces", place)
            if column == "domain" and address.domains:
                parts.append("")
            else:
                parts.append(self._part(column, "address.template", contact_cell))
        for domain in address.domains:
            self._rule(partial(address_cell, f"x@{domain}"), f"address.domains.{domain}")
        return parts

    def _named(self, named: Named, path: str, convert: Callable[[Cell], Any]) -> _Part:
        if named.column is not None:
            return self._part(named.column, f"{path}.column", convert)
        constant = self._rule(lambda: convert(named.name), f"{path}.name")
        return _Part("", lambda _: constant, lambda cell: cell)

    def _fields(self, fields: dict[str, Field], path: str) -> dict[str, _Part]:
        return {
            name: self._part(
                field.column,
                f"{path}.{name}.column",
                field_converter(field),
                optional=field.optional,
            )
            for name, field in fields.items()
        }

    def _part(
        self, column: str, path: str, convert: Callable[[Cell], Any], *, optional: bool = False
    ) -> _Part:
        get = self._columns.find(column)
        if get is None:
            raise unknown_name("column", column, self._columns.names(), self._source.place(path))
        return _Part(column, get, convert, optional)

    def _rule(self, make: Callable[[], T], path: str) -> T:
        try:
            return make()
        except CellError as error:
            raise InputError(str(error), self._source.place(path)) from error


def _collect(parts: dict[str, _Part], raw: Any, place: Place) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, part in parts.items():
        if part.optional and part.get(raw) in (None, ""):
            continue
        values[name] = _take(part, raw, place)
    return values


def _take(part: _Part, raw: Any, place: Place) -> Any:
    cell = part.get(raw)
    try:
        if cell is None:
            raise CellError("missing")
        return part.convert(cell)
    except CellError as error:
        raise InputError(str(error), _at(place, part.column)) from error


def _at(place: Place, column: str) -> Place:
    return Place(file=place.file, line=place.line, path=column)
