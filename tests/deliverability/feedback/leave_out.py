"""Estimate how the reader generalises: read each group of texts with nothing that was learned from that group alone.

    python -m tests.deliverability.feedback.leave_out [--by text|vendor|none] [--vocabulary-only] [--misses N]

A phrase of `replies.toml`, or one alternative of it, that matches in no other group of the shared half may have been
written with that group open: it is taken away while that group is read. What matches elsewhere too, or nowhere at
all, stays, and so does `vocabulary.toml`, which was written from knowledge of the field (docs/feedback.md says what
was seen when). Groups are vendors, or sets of like texts, which is nearer to a random half of the same vendors.
Exceptions, the order of rules and the grammar of prose are not taken away, so the figures are an upper estimate.
The scores are those of `../shared/checks/feedback.py`, unchanged. Two intervals of 95 % are printed: Wilson's, which
takes each item for a draw of its own, and a bootstrap over whole vendors (2,000 draws), since those of one are alike.
`--by none` leaves nothing out.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import random
import re
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self, cast

import msgspec

from deliverability.feedback import replies
from deliverability.feedback.phrases import Phrase, normalise
from deliverability.feedback.reader import read_file
from deliverability.feedback.replies import Verdict
from deliverability.feedback.rulebook import Rule, Rulebook, Tier, shipped, tier_of
from tests.deliverability.feedback.holdout import SHARED, reply_vendor, vendor_of

__all__ = ("groups_of", "main")

_WORD = re.compile(r"[a-z]{2,}|[^\x00-\x7f]+")
_ADDRESS = re.compile(r"\S+@\S+|\b[\w-]+(?:\.[\w-]+)+\b")
_LIKE = 0.6
_DRAWS = 2_000
_SCORES = (
    "sisimai reason", "sisimai permanent", "sisimai action", "sisimai status", "cws status",
    "reply cause (sisimai)",
)  # fmt: skip

Key = tuple[str, ...]


class Item(msgspec.Struct, frozen=True):
    """One thing that is read: a mail (`folder/file`) or a row of replies.tsv, its vendor and its words."""

    name: str
    vendor: str
    words: frozenset[str]


def groups_of(items: list[Item], by: str) -> dict[str, str]:
    """The group of each item: its vendor, or the first item of those that are linked by like texts."""
    if by in ("vendor", "none"):
        return {item.name: item.vendor for item in items}
    parent = {item.name: item.name for item in items}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for at, one in enumerate(items):
        for other in items[:at]:
            if _like(one.words, other.words):
                parent[root(one.name)] = root(other.name)
    return {item.name: root(item.name) for item in items}


def _like(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one) and len(one & other) >= _LIKE * len(one | other)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(_ADDRESS.sub(" ", normalise(text[:1_000]))))


def _items(corpora: Path) -> list[Item]:
    found = []
    for folder in ("bounces-sisimai", "bounces-other", "arf"):
        for line in (corpora / folder / "expected.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            records = row.get("records") or [{}]
            text = " ".join(str(r.get("diagnosticcode") or "") for r in records)
            found.append(
                Item(
                    name=f"{folder}/{row['file']}",
                    vendor=vendor_of(folder, row["file"]),
                    words=_words(text),
                )
            )
    return found + [
        Item(name=row["id"], vendor=reply_vendor(row), words=_words(row["text"]))
        for row in _replies(corpora)
    ]


def _replies(corpora: Path) -> list[dict[str, str]]:
    with (corpora / "smtp-replies" / "replies.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


class _Watched:
    """A phrase that tells which of its alternatives matched, and passes over those that are taken away."""

    def __init__(self, phrase: Phrase) -> None:
        self.source = phrase.source
        self.literals = phrase.literals
        self._expression = phrase.expression.replace("(?:", "(")
        self.told: Callable[[Key], None] | None = None
        self.taken: frozenset[Key] = frozenset()

    @property
    def pattern(self) -> Self:
        """What is asked to search: this."""
        return self

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self._expression)

    def keys(self, match: re.Match[str]) -> Iterator[Key]:
        yield (self.source,)
        for number, value in enumerate(match.groups()):
            if value and re.escape(value) in self._expression:
                yield (self.source, str(number), value)

    def search(self, text: str) -> re.Match[str] | None:
        for match in self._regex.finditer(text):
            keys = list(self.keys(match))
            if self.told is not None:
                for key in keys:
                    self.told(key)
            if not self.taken or not any(key in self.taken for key in keys):
                return match
        return None


class _Watching(msgspec.Struct):
    """The shipped rules with watched phrases."""

    book: Rulebook
    phrases: list[_Watched]


def _watching(book: Rulebook) -> _Watching:
    watched: list[_Watched] = []

    def watch(rule: Rule) -> Rule:
        if rule.id.startswith("field."):
            return rule
        mine = [_Watched(phrase) for phrase in rule.phrases]
        watched.extend(mine)
        return msgspec.structs.replace(rule, phrases=cast("tuple[Phrase, ...]", tuple(mine)))

    def tier(one: Tier) -> Tier:
        return tier_of([watch(rule) for rule in one.rules])

    tiers = {
        name: tier(value)
        for name in book.__struct_fields__
        if isinstance(value := getattr(book, name), Tier)
    }
    return _Watching(book=msgspec.structs.replace(book, **tiers), phrases=watched)


class _Reader:
    """Reads items in this process, each with the rules that its group leaves."""

    def __init__(self, corpora: Path, by: str, *, strong: bool = True) -> None:
        self.items = _items(corpora)
        self.rows = _replies(corpora)
        self.groups = groups_of(self.items, by)
        book = shipped()
        if not strong:
            book = msgspec.structs.replace(book, strong=tier_of([]))
        self.watching = _watching(book)
        self.support: dict[Key, set[str]] = defaultdict(set)
        self.taken: dict[str, frozenset[Key]] = {}
        cast("Any", replies).shipped = lambda: self.watching.book

    def learn(self, corpora: Path) -> None:
        """Read everything once and note which group uses which phrase."""
        for folder in ("bounces-sisimai", "bounces-other", "arf"):
            with tarfile.open(corpora / folder / "emails.tar.gz") as tar:
                for member in tar.getmembers():
                    file = tar.extractfile(member) if member.isfile() else None
                    if file is not None:
                        name = f"{folder}/{member.name.removeprefix('./')}"
                        self._note(self.groups.get(name, name))
                        read_file(file.read())
        for row in self.rows:
            self._note(self.groups[row["id"]])
            self._classify(row)
        alone: dict[str, set[Key]] = defaultdict(set)
        for key, groups in self.support.items():
            if len(groups) == 1:
                alone[next(iter(groups))].add(key)
        self.taken = {group: frozenset(keys) for group, keys in alone.items()}
        for phrase in self.watching.phrases:
            phrase.told = None

    def _note(self, group: str) -> None:
        replies.forget()
        for phrase in self.watching.phrases:
            phrase.told = lambda key: self.support[key].add(group)

    def _as(self, group: str) -> None:
        replies.forget()
        taken = self.taken.get(group, frozenset())
        for phrase in self.watching.phrases:
            phrase.taken = taken

    def folder(self, folder: Path) -> dict[str, dict[str, Any]]:
        """What `veredus feedback read --json` prints for a folder."""
        corpus = {
            "sisimai": "bounces-sisimai",
            "variants": "bounces-sisimai",
            "other": "bounces-other",
        }
        lines = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = str(path.relative_to(folder))
            file = path.name if folder.name == "variants" else name
            key = f"{corpus.get(folder.name, folder.name)}/{file}"
            self._as(self.groups.get(key, key))
            reading = read_file(path.read_bytes())
            reports = [msgspec.to_builtins(report) for report in reading.reports]
            lines[name] = {"file": name, "kind": reading.kind, "reports": reports}
        return lines

    def replies(self, *_: object, **__: object) -> SimpleNamespace:
        """What `veredus feedback reply --json` prints for the whole table."""
        out = []
        for row in self.rows:
            self._as(self.groups[row["id"]])
            out.append(msgspec.json.encode(self._classify(row)).decode())
        return SimpleNamespace(returncode=0, stdout="\n".join(out), stderr="")

    @staticmethod
    def _classify(row: dict[str, str]) -> Verdict:
        return replies.classify_reply(row["code"], row["enhanced"], row["text"])


class _Drawn:
    """Keeps what each vendor scored, to draw vendors from."""

    def __init__(self, add: Callable[..., None]) -> None:
        self._add = add
        self._of: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))

    def add(self, name: str, ok: bool, why: str = "") -> None:
        """Note one item under its vendor, then count it as the check does."""
        first = why.partition(":")[0]
        vendor = vendor_of("bounces-sisimai", first) if first.endswith(".eml") else first
        held = self._of[name][vendor]
        held[0] += bool(ok)
        held[1] += 1
        self._add(name, ok, why)

    def interval(self, name: str) -> str:
        """The share between the 2.5th and the 97.5th percentile of the draws."""
        vendors = list(self._of[name].values())
        chance = random.Random(20261127)
        shares = []
        for _ in range(_DRAWS):
            chosen = chance.choices(vendors, k=len(vendors))
            shares.append(sum(hit for hit, _ in chosen) / sum(number for _, number in chosen))
        shares.sort()
        return f"({shares[_DRAWS // 40]:.2f}, {shares[-_DRAWS // 40]:.2f})"


def _check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shared_check", SHARED / "checks" / "feedback.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(argv: Sequence[str] | None = None) -> int:
    """Print the scores of all groups, each read without what only it taught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by", choices=("text", "vendor", "none"), default="text")
    parser.add_argument("--vocabulary-only", action="store_true", help="without any strong rule")
    parser.add_argument("--misses", type=int, default=0)
    args = parser.parse_args(argv)
    corpora = SHARED / "corpora"
    reader = _Reader(corpora, args.by, strong=not args.vocabulary_only)
    if args.by != "none":
        reader.learn(corpora)
    check = _check()
    check.read_folder = reader.folder  # type: ignore[attr-defined]  # the scores, without the command
    check.subprocess = SimpleNamespace(run=reader.replies)  # type: ignore[attr-defined]  # as above
    score = check.Score()
    drawn = _Drawn(score.add)
    score.add = drawn.add
    with tempfile.TemporaryDirectory() as tmp:
        for name in ("bounces-sisimai", "bounces-other", "arf", "smtp-replies"):
            check.CORPORA[name](corpora / name, Path(tmp), score)
    for name in score.all:
        print(
            f"{score.share(name):6.3f}  {score.hit[name]:4d}/{score.all[name]:<4d}"
            f"  [{score.low(name):.2f}, {score.high(name):.2f}]  {drawn.interval(name)}  {name}"
        )
        for why in score.misses[name][: args.misses] if name in _SCORES else ():
            print("            ", why[:260])
    return 0


if __name__ == "__main__":
    sys.exit(main())
