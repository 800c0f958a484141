"""The catalog: content-addressed, compiled once, versions that only go up when something changed."""

from __future__ import annotations

from engine.catalog import Catalog, Head, Item, digest_of, published


def _item(name: str, content: bytes, section: str = "scenario", tenant: str = "t") -> Item:
    return Item(section, tenant, name, digest_of(content))


def test_publishing_what_stands_there_already_changes_nothing() -> None:
    """The very same head; a real change gives the next version."""
    one = published(Head(), [_item("a", b"1"), _item("b", b"2")])
    assert one.version == 1
    assert published(one, [_item("a", b"1")]) is one
    two = published(one, [_item("a", b"3")])
    assert (two.version, len(two.items)) == (2, 2)
    assert one.items[0].digest == digest_of(b"1")


def test_objects_are_compiled_once_for_all_versions() -> None:
    """A newer catalog takes over what is the same; a section without a compiler gives its content."""
    compiled: list[bytes] = []

    def compiler(tenant: str, name: str, content: bytes) -> str:
        compiled.append(content)
        return f"{tenant}/{name}/{content.decode()}"

    objects = {digest_of(one): one for one in (b"1", b"2", b"raw")}
    first = published(Head(), [_item("a", b"1"), _item("r", b"raw", "other")])
    catalog = Catalog(first, objects, {"scenario": compiler})
    newer = Catalog(published(first, [_item("b", b"2")]), objects, {"scenario": compiler}, catalog)
    assert newer.find("scenario", "t", "a") == "t/a/1"
    assert newer.find("scenario", "t", "b") == "t/b/2"
    assert newer.find("other", "t", "r") == b"raw"
    assert newer.find("scenario", "u", "a") is None
    assert set(newer.all("scenario", "t")) == {"a", "b"}
    assert newer.all("scenario", "nobody") == {}
    assert compiled == [b"1", b"2"]
