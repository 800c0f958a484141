"""The catalog: everything published (scenarios, templates, policies), immutable and content-addressed.

An object is bytes under the digest of its content; a *head* is one version of the whole: which object stands under
which (section, tenant, name). Actors hold a `Catalog`, a head with its objects compiled, and hear of the next one;
versions never go back. Publishing an object that stands there already changes nothing.
"""

from __future__ import annotations

__all__ = ("Catalog", "Compiler", "Head", "Item", "digest_of", "published")

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

Compiler = Callable[[str, str, bytes], Any]
"""Makes what a machine uses of an object: (tenant, name, content) -> compiled."""


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a head."""

    section: str
    tenant: str
    name: str
    digest: str


class Head(msgspec.Struct, frozen=True):
    """One version of the catalog, without the objects themselves."""

    version: int = 0
    items: tuple[Item, ...] = ()


def digest_of(content: bytes) -> str:
    """Address content: 32 hexadecimal digits."""
    return blake2b(content, digest_size=16).hexdigest()


def published(head: Head, changes: Iterable[Item]) -> Head:
    """Make the next head; without a real change it is the same head."""
    entries = {(item.section, item.tenant, item.name): item for item in head.items}
    before = dict(entries)
    for item in changes:
        entries[item.section, item.tenant, item.name] = item
    if entries == before:
        return head
    return Head(head.version + 1, tuple(entries[key] for key in sorted(entries)))


class Catalog:
    """A head with its objects compiled: what decisions look at.

    Args:
        head: which version.
        objects: content by digest.
        compilers: by section; a section without one gives its content as it is.
        former: an older catalog, whose compiled objects are taken over where the digest is the same.
    """

    def __init__(
        self,
        head: Head,
        objects: Mapping[str, bytes],
        compilers: Mapping[str, Compiler],
        former: Catalog | None = None,
    ) -> None:
        self.version = head.version
        self.head = head
        self._sections: dict[tuple[str, str], dict[str, Any]] = {}
        self._compiled: dict[Item, Any] = {}
        known = former._compiled if former is not None else {}
        for item in head.items:
            if item in known:
                made = known[item]
            else:
                content = objects[item.digest]
                compiler = compilers.get(item.section)
                made = content if compiler is None else compiler(item.tenant, item.name, content)
            self._compiled[item] = made
            self._sections.setdefault((item.section, item.tenant), {})[item.name] = made

    def find(self, section: str, tenant: str, name: str) -> Any:
        """Give the compiled object, or None."""
        return self._sections.get((section, tenant), _NOTHING).get(name)

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:
        """Give all of a tenant's section, by name."""
        found: Mapping[str, Any] = self._sections.get((section, tenant), _NOTHING)
        return found


_NOTHING: dict[str, Any] = {}
