"""A copy of an instance that runs, taken under load: what is restored is an instance whose law holds."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.integration.instance import Running, prepare, run
from tests.integration.test_nodes import CONTACTS, delivered, sign_up

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def test_a_copy_taken_under_load_is_a_whole_instance(tmp_path: Path) -> None:
    """Nothing stops but for a moment; all that was acknowledged before is in the copy."""
    folder = tmp_path / "instance"
    folder.mkdir()
    prepare(folder)
    file = folder / "veredus.toml"
    file.write_text(file.read_text().replace("count = 1", "count = 2"))
    instance = Running(folder)
    try:
        sign_up(instance, 0)
        giving = threading.Thread(target=lambda: sign_up(instance, 1))
        giving.start()
        told = run(folder, "backup", str(tmp_path / "copy"), "--live", "--json")
        giving.join()
        assert told.returncode == 0, told.stderr
        assert delivered(instance, 2 * CONTACTS) == 2 * CONTACTS, "the instance goes on"
    finally:
        assert instance.end() == 0
    again = tmp_path / "again"
    again.mkdir()
    prepare(again)
    text = (again / "veredus.toml").read_text()
    (again / "veredus.toml").write_text(text.replace("count = 1", "count = 2"))
    told = run(again, "restore", str(tmp_path / "copy"), "--json")
    assert told.returncode == 0, told.stderr
    instance = Running(again)
    try:
        assert delivered(instance, CONTACTS) >= CONTACTS, "what was acknowledged before the copy"
        assert instance.get("/v1/conservation")["holds"]
    finally:
        assert instance.end() == 0
