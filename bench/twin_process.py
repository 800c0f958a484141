"""A twin in a process of its own: it writes down every mail that it took, and keeps none."""

from __future__ import annotations

__all__ = ("TwinProcess",)

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self


class TwinProcess:
    """`veredus twin` on a free port. Use it as a context.

    Args:
        folder: where its record goes.
        config: a file with its providers; None: one that takes everything.
    """

    def __init__(self, folder: Path, config: Path | None = None) -> None:
        self.received = folder / "twin" / "received.ndjson"
        """What it took, a line for each recipient."""
        root = Path(__file__).resolve().parent.parent
        code = "from actors.cli.main import main; main()"
        like = ["--config", str(config)] if config is not None else ["--preset", "sink"]
        arguments = ["twin", "--port", "0", *like, "--keep", "0", "--json", "--data", str(folder)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=root
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None, "it is a pipe"
        self.port = int(json.loads(self._process.stdout.readline())["port"])

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it: its record is whole then."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=30)
