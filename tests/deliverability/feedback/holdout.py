"""Score the shared corpora in two parts: vendors that rules were written with, and vendors held back.

    python -m tests.deliverability.feedback.holdout [--part open|held|both]

The rules of the reader were written looking at the *open* part alone; the *held* part, about a quarter,
chosen by a hash of the vendor, was never opened before the first scores of both were taken. Where the two
intervals (Wilson, 95 %) of a score don't overlap, the rules memorise. Needs `../shared`, the `veredus`
command on PATH (or VEREDUS="..."), and runs the unchanged check of `../shared/checks/feedback.py` on each part.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ("held_back", "main", "reply_vendor", "split_corpora", "vendor_of")

SHARED = Path(__file__).resolve().parents[4] / "shared"
_SALT = "veredus-feedback-holdout-1:"
_ALIASES = {"yahooinc": "yahoo", "gsuite": "google"}
_FOLDERS = ("bounces-sisimai", "bounces-other", "arf", "dmarc-reports", "tlsrpt")


def held_back(vendor: str) -> bool:
    """Say whether a vendor belongs to the quarter that rules were not written with."""
    return hashlib.sha256((_SALT + vendor).encode()).digest()[0] % 4 == 0


def vendor_of(folder: str, file: str) -> str:
    """The vendor, or the nearest thing to it, that a corpus file came from."""
    if folder == "bounces-sisimai":
        name = re.sub(r"-\d+\.eml$", "", file.rsplit("/", 1)[-1])
        name = re.sub(r"^[lr]host-", "", name)
        return _ALIASES.get(name, name)
    if folder == "bounces-other":
        source, _, name = file.partition("/")
        if source == "flufl" and not name.startswith(("simple_", "dsn_")):
            return f"flufl/{name.split('_')[0]}"
        if source == "bounceparser":
            return f"bounceparser/{re.split(r'[-.0-9]', name)[0]}{hash_bucket(name)}"
        return file
    if folder == "arf" and file.startswith("sisimai-"):
        return vendor_of("bounces-sisimai", file.removeprefix("sisimai-"))
    if folder == "arf" and file.startswith("cws-"):
        return file.replace("-", "/", 1)
    return f"{folder}/{file}"


def hash_bucket(name: str) -> str:
    """Spread the one large family of a source over several vendors ("spam-rejection…")."""
    return name if name.startswith("spam-rejection") else ""


def reply_vendor(row: dict[str, str]) -> str:
    """The vendor of a row of replies.tsv; the same as that of the mail it was taken from."""
    source = row["source"].lower()
    if ":" in source:
        name = re.sub(r"^[lr]host-", "", source.split(":", 1)[1])
        return _ALIASES.get(name, name)
    if source == "sisimai-reason-phrases":
        return f"phrases/{row['category']}"
    return f"{source}/{row['provider'] or row['id']}"


def split_corpora(corpora: Path, to: Path, *, held: bool) -> None:
    """Write a copy of the corpora whose expectations are those of one part only."""
    for folder in _FOLDERS:
        (to / folder).mkdir(parents=True)
        for archive in (corpora / folder).glob("*.tar.gz"):
            (to / folder / archive.name).symlink_to(archive)
        lines = (corpora / folder / "expected.jsonl").read_text(encoding="utf-8").splitlines()
        kept = [x for x in lines if held_back(vendor_of(folder, json.loads(x)["file"])) is held]
        (to / folder / "expected.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    (to / "smtp-replies").mkdir()
    with (corpora / "smtp-replies" / "replies.tsv").open(encoding="utf-8") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [row for row in table if held_back(reply_vendor(row)) is held]
        names = list(table.fieldnames or [])
    body = "\n".join(
        "\t".join(row[name] for name in names) for row in [{name: name for name in names}, *rows]
    )
    (to / "smtp-replies" / "replies.tsv").write_text(body + "\n", encoding="utf-8")


def main() -> int:
    """Print the scores of both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", type=int, default=0)
    parser.add_argument("--part", choices=("open", "held", "both"), default="both")
    args = parser.parse_args()
    for part in ("open", "held"):
        if args.part not in (part, "both"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            split_corpora(SHARED / "corpora", Path(folder), held=part == "held")
            print(f"== {part} part", flush=True)
            check = [sys.executable, str(SHARED / "checks" / "feedback.py"), "--corpora", folder]
            subprocess.run([*check, "--misses", str(args.misses)], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
