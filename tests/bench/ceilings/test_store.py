import subprocess
import sys
from pathlib import Path

import msgspec

from bench.ceilings.store import measure_store

ROOT = Path(__file__).resolve().parents[3]


def test_the_rows_of_a_trace_are_written_and_counted(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    rows = [(b"a%d" % n, b"x" * 100) for n in range(50)] + [(b"a1", None)]
    trace.write_bytes(msgspec.msgpack.encode(rows))
    written = measure_store(trace, tmp_path / "store", 0.05, 10)
    assert written.per_second > 0
    assert written.cpu_us > 0
    assert any((tmp_path / "store").iterdir()), "they went to a store on disk"


def test_ceilings_import_nothing_of_veredus() -> None:
    loaded = (
        "import sys, bench.ceilings.store, bench.ceilings.signatures\n"
        "ours = ('engine', 'scenarios', 'deliverability', 'actors')\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in ours))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, [])
