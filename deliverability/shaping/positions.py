"""Where each key of a TOML text stands, so that errors and explanations can name the line.

`tomllib` keeps no positions. This scanner reads only what it needs for them: headers, keys, strings and brackets. It
is run on texts that `tomllib` has accepted, and takes time and memory linear in the text.
"""

from __future__ import annotations

__all__ = ("Path", "find_positions", "nearest_position")

from collections.abc import Mapping

Path = tuple[str | int, ...]


class _Scanner:
    """One pass over the text; `positions` maps each path to its line and column, both from 1."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.line_start = 0
        self.positions: dict[Path, tuple[int, int]] = {}
        self._array_sizes: dict[Path, int] = {}
        self._table: Path = ()

    def scan(self) -> None:
        while self._skip_blank():
            if self.text[self.at] == "[":
                self._header()
            else:
                self._key_and_value(self._table)

    def _here(self) -> tuple[int, int]:
        return self.line, self.at - self.line_start + 1

    def _advance(self, count: int = 1) -> None:
        for _ in range(count):
            if self.text[self.at : self.at + 1] == "\n":
                self.line += 1
                self.line_start = self.at + 1
            self.at += 1

    def _skip_blank(self) -> bool:
        """Skip white space and comments; tell whether anything is left."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in " \t\r\n\ufeff":
                self._advance()
            else:
                return True
        return False

    def _header(self) -> None:
        where = self._here()
        is_array = self.text.startswith("[[", self.at)
        self._advance(2 if is_array else 1)
        path = self._resolve(self._dotted_key())
        while self.at < len(self.text) and self.text[self.at] == "]":
            self._advance()
        if is_array:
            index = self._array_sizes.get(path, 0)
            self._array_sizes[path] = index + 1
            self.positions.setdefault(path, where)
            path = (*path, index)
        self.positions.setdefault(path, where)
        self._table = path

    def _resolve(self, parts: list[str]) -> Path:
        """Insert, after each array of tables on the way, the index of its last element."""
        path: Path = ()
        for part in parts[:-1]:
            path = (*path, part)
            if path in self._array_sizes:
                path = (*path, self._array_sizes[path] - 1)
        return (*path, parts[-1])

    def _dotted_key(self) -> list[str]:
        parts = [""]
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in "\"'":
                parts[-1] = self._string()
            elif char == ".":
                parts.append("")
                self._advance()
            elif char in "]=\n":
                break
            elif char in " \t":
                self._advance()
            else:
                parts[-1] += char
                self._advance()
        return parts

    def _string(self) -> str:
        """Read a string of any of the four kinds; escapes stay as they are but for the quote."""
        quote = self.text[self.at]
        fence = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self._advance(len(fence))
        begin = self.at
        while self.at < len(self.text) and not self.text.startswith(fence, self.at):
            self._advance(2 if quote == '"' and self.text[self.at] == "\\" else 1)
        content = self.text[begin : self.at]
        self._advance(len(fence))
        while len(fence) == 3 and self.text.startswith(quote, self.at):
            self._advance()  # up to two quotes may end the content itself
        return content.replace('\\"', '"')

    def _key_and_value(self, table: Path) -> None:
        where = self._here()
        path = (*table, *self._dotted_key())
        self.positions.setdefault(path, where)
        if self.at < len(self.text) and self.text[self.at] == "=":
            self._advance()
            self._value(path)
        elif self.at < len(self.text):
            self._advance()

    def _value(self, path: Path) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self._advance()
        if self.at >= len(self.text):
            return
        self.positions.setdefault(path, self._here())
        char = self.text[self.at]
        if char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        elif char in "\"'":
            self._string()
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}\n#":
                self._advance()

    def _array(self, path: Path) -> None:
        self._advance()
        index = 0
        while self._skip_blank() and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self._advance()
                continue
            before = self.at
            self._value((*path, index))
            index += 1
            if self.at == before:
                self._advance()
        self._advance()

    def _inline_table(self, path: Path) -> None:
        self._advance()
        while self._skip_blank() and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self._advance()
                continue
            before = self.at
            self._key_and_value(path)
            if self.at == before:
                self._advance()
        self._advance()


def find_positions(text: str) -> dict[Path, tuple[int, int]]:
    """Map each table, key and array element of a TOML text to its line and column."""
    scanner = _Scanner(text)
    scanner.scan()
    positions = dict(scanner.positions)
    for path, where in scanner.positions.items():
        for size in range(
            1, len(path)
        ):  # a table without a header of its own begins at its first key
            positions.setdefault(path[:size], where)
    return positions


def nearest_position(positions: Mapping[Path, tuple[int, int]], path: Path) -> tuple[int, int]:
    """Return the position of a path, or of the nearest enclosing one that has any (1, 1 at the top)."""
    while path and path not in positions:
        path = path[:-1]
    return positions.get(path, (1, 1))
