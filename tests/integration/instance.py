"""`veredus up` as a subprocess on a free port, with a folder of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import msgspec

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0

_CONFIG = """
data_dir = "data"

[store]
partitions = 16
cache_mb = 8
free_mb_min = 8

[workers]
count = 1
memory_free_mb_min = 0

[http]
port = 0

[[tenant]]
from_domains = ["shop.example"]
from_address = "hello@shop.example"
from_name = "The shop"
"""
_SCENARIO = """
scenario: welcome
description: Welcomes a contact.
entry:
  event: signup
reentry: always
steps:
  - id: hello
    send:
      template: hello
      topic: marketing
"""
_HTML = """<!doctype html>
<html lang="en"><body><p>Hello {{ contact.first_name }}.</p>
<p><a href="https://shop.example/">To the shop</a></p></body></html>
"""


def prepare(folder: Path) -> None:
    """Write configuration, scenario and template."""
    for name in ("scenarios", "templates"):
        (folder / name).mkdir(parents=True)
    (folder / "veredus.toml").write_text(_CONFIG)
    (folder / "scenarios" / "welcome.yaml").write_text(_SCENARIO)
    (folder / "templates" / "hello.toml").write_text('subject = "Hello"\n')
    (folder / "templates" / "hello.html").write_text(_HTML)


def command(folder: Path, *arguments: str, root: Path = ROOT) -> list[str]:
    """Give the command line of a subcommand, for this interpreter; `root` has the packages."""
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); from actors.cli.main import main; main()"
    )
    return [sys.executable, "-c", code, *arguments]


def run(folder: Path, *arguments: str, within_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a subcommand to its end."""
    return subprocess.run(
        command(folder, *arguments),
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def _environment(root: Path = ROOT) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VEREDUS_")}
    return kept | {"PYTHONPATH": str(root), "RAY_DISABLE_IMPORT_WARNING": "1"}


class Running:
    """One life of an instance; `more` are arguments of `up`, `root` has the packages."""

    def __init__(self, folder: Path, *more: str, root: Path = ROOT) -> None:
        self.folder = folder
        self._log = (folder / "up.log").open("a")
        self.process = subprocess.Popen(
            command(folder, "up", "--config", "veredus.toml", *more, root=root),
            cwd=folder,
            env=_environment(root),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.client = httpx.Client(base_url=self._url(), timeout=60)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _url(self) -> str:
        while True:
            try:
                line = self._lines.get(timeout=START_S)
            except Empty:
                line = ""
            found = re.search(r"http://[0-9.]+:\d+", line)
            if found:
                return found[0]
            if not line:
                self.process.kill()
                raise AssertionError(f"it didn't come up:\n{self.log()}")

    def log(self) -> str:
        """Give what it logged."""
        return (self.folder / "up.log").read_text()

    def worker_pid(self) -> int:
        """Tell the process of its only worker."""
        pid: int = self.get("/v1/status")["workers"][0]["pid"]
        return pid

    def get(self, path: str, **query: Any) -> Any:
        """Ask, and expect an answer."""
        response = self.client.get(path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def give(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Give something."""
        return self.client.request(
            method,
            path,
            content=b"" if body is None else msgspec.json.encode(body),
            headers={"content-type": "application/json", **headers},
        )

    def outcomes(
        self, after: str = "", wait_ms: int = 5000
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Read outcomes for ever, each with the cursor behind its page."""
        while True:
            page = self.get("/v1/outcomes", after=after, limit=7, wait_ms=wait_ms)
            after = page["next"]
            for item in page["items"]:
                yield item, after
            if not page["items"]:
                yield {}, after

    def end(self) -> int:
        """Let it drain by SIGTERM. Returns its exit status."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._close()
        return status

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.client.close()
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    def finish(self) -> None:
        """End it, if it runs."""
        if self.process.poll() is not None:
            return
        try:
            self.end()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
