"""What was lost and what came twice, from two files only: what the intake acknowledged, what the twin accepted.

    python -m bench.chaos_count ACKNOWLEDGED RECEIVED

ACKNOWLEDGED has a recipient a line, written when the intake had answered that the input is durable. RECEIVED is the
twin's `received.ndjson`. Nothing of Veredus is imported here, so nothing of it can be wrong twice.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

__all__ = ("count",)


def count(acknowledged: Path, received: Path) -> dict[str, int]:
    """Count. `strangers`: mails whose input nobody acknowledged (it may have been durable all the same)."""
    wanted = set(acknowledged.read_text(encoding="ascii").split())
    lines = received.read_text(encoding="utf-8").splitlines() if received.exists() else []
    arrived = Counter(json.loads(line)["forward_path"] for line in lines)
    return {
        "acknowledged": len(wanted),
        "accepted": sum(arrived.values()),
        "lost": len(wanted - arrived.keys()),
        "duplicates": sum(number - 1 for number in arrived.values()),
        "strangers": len(arrived.keys() - wanted),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(count(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
