"""What the catalog says of streams: leads of eager readers are for bulk mail, while a source is warmed up."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors.publishing import publish
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from deliverability.message.stream_policy import StreamPolicy
from engine.config import parse
from engine.store.catalog_files import CatalogFiles

HOUR = 3_600_000
WARMING = "[[source]]\nname = 'b'\n[[pacing.warmup]]\nsource = 'b'\n"


@pytest.mark.parametrize(
    ("text", "lead"),
    [("", 0), (WARMING, 24 * HOUR), (f"{WARMING}[pacing]\nengaged_first_hours = 2\n", 2 * HOUR)],
)
def test_leads_are_for_bulk_streams_while_a_source_is_warmed_up(
    tmp_path: Path, text: str, lead: int
) -> None:
    """Without a warm-up volume isn't scarce, and a password has no readers to choose among."""
    config = parse(f"data_dir = '{tmp_path}'\n{text}")
    publish(config, letterheads(config, secret_of), [], now=1, actor="test", reason="")
    files = CatalogFiles(tmp_path / "catalog")
    found = {
        item.name: msgspec.json.decode(files.objects.get(item.digest), type=StreamPolicy).lead_ms
        for item in files.head().items
        if item.section == "stream"
    }
    assert found == {"marketing": lead, "transactional": 0}
