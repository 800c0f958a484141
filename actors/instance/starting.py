"""Which scenario files an instance publishes when it starts: the folder's, unless a later command has overtaken one.

Two hands write versions: the folder (at `up`) and commands (`scenario publish`, `rollback`). The control log knows the
order, so that a restart undoes nothing:

- the version in use was made by an earlier `up`: the file goes in as it is, a file taken back in Git included;
- it was made by a command, and the file's text was never published: the file is newer, and goes in;
- it was made by a command, and the file's text was published before: the command came later, and its version stays.
"""

from __future__ import annotations

__all__ = ("UP_REASON", "Starting", "starting")

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.catalog import digest_of
from engine.store.catalog_files import CatalogFiles
from engine.store.control_file import ControlFile
from scenarios.checking import load

UP_REASON = "veredus up"
"""The reason on record of what `up` publishes."""


class Starting(msgspec.Struct, frozen=True):
    """What to publish (texts by file name), and a line for each file that stays out."""

    texts: dict[str, str]
    overtaken: list[str] = []


def starting(data_dir: Path, tenant: str, texts: Mapping[str, str]) -> Starting:
    """Choose among the scenario files of a folder. Raises: InputError: one of them has mistakes."""
    current = {
        item.name: item.digest
        for item in CatalogFiles(data_dir / "catalog").head().items
        if (item.section, item.tenant) == ("scenario", tenant)
    }
    history = _published(data_dir / "control.log", tenant)
    kept: dict[str, str] = {}
    overtaken: list[str] = []
    for file, text in texts.items():
        scenario = load(text, file)
        digest = digest_of(text.encode())
        in_use = current.get(scenario.name, digest)
        acts = history.get(scenario.name, [])
        by_command = bool(acts) and acts[-1][1] != UP_REASON
        if in_use != digest and by_command and any(digest == one for one, _ in acts):
            overtaken.append(
                f"scenario {scenario.name} stays as a command published it; {file} is an earlier text"
                f" (to use it: `veredus scenario publish {file}`)"
            )
        else:
            kept[file] = text
    return Starting(kept, overtaken)


def _published(log: Path, tenant: str) -> dict[str, list[tuple[str, str]]]:
    """Give digest and reason of each publication of a scenario, oldest first."""
    found: dict[str, list[tuple[str, str]]] = {}
    if not log.exists():
        return found
    prefix = f"scenario {tenant}/"
    for record in ControlFile(log).records():
        change = record.change
        if change.action == "publish" and change.subject.startswith(prefix):
            acts = found.setdefault(change.subject.removeprefix(prefix), [])
            acts.append((change.after.hex(), change.reason))
    return found
