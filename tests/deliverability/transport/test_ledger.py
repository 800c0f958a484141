"""The ledger: what was marked is known after the death of its writer, and a torn end says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import LedgerFile, adopt
from engine.errors import RefusedError

ROOT = Path(__file__).parents[3]
IDS = st.integers(0, 3).map(lambda n: bytes((n,)) * 16)
ATTEMPTS = st.integers(1, 3)
STEPS = st.lists(
    st.tuples(st.sampled_from(("begin", "conclude", "confirm")), IDS, ATTEMPTS), max_size=30
)


class Model:
    """What must be known: by (message, attempt) nothing, a mark, or an outcome."""

    def __init__(self) -> None:
        self.known: dict[tuple[bytes, int], AttemptOutcome | None] = {}

    def apply(self, ledger: LedgerFile, step: tuple[str, bytes, int]) -> None:
        what, message, attempt = step
        key = (message, attempt)
        if what == "begin":
            ledger.begin(message, attempt)
            self.known.setdefault(key, None)
        elif what == "conclude":
            outcome = AttemptOutcome(attempt, "delivered", "c", 250, text="ok")
            ledger.conclude(message, attempt, outcome)
            self.known[key] = outcome
        else:
            ledger.confirm([(message, attempt)])
            self.known.pop(key, None)


def _fate_fits(path: Path, model: Model) -> None:
    adopted = adopt(path)
    for message in (bytes((n,)) * 16 for n in range(4)):
        for attempt in (1, 2, 3):
            fate = adopted.fate(message, attempt)
            if (message, attempt) not in model.known:
                assert fate is None
            elif (outcome := model.known[message, attempt]) is not None:
                assert fate == outcome
            else:
                assert fate is not None
                assert (fate.kind, fate.attempt) == ("in_doubt", attempt)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, torn=st.binary(max_size=20))
def test_what_was_written_is_adopted_and_a_torn_end_left_out(
    steps: list[tuple[str, bytes, int]], torn: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Marks without outcome are in doubt, outcomes are as they were, what is confirmed is forgotten."""
    path = tmp_path_factory.mktemp("ledger") / "w0-1.ledger"
    ledger, model = LedgerFile(path), Model()
    for step in steps:
        once = step[0] != "begin" or (step[1], step[2]) not in model.known
        if once:
            model.apply(ledger, step)
    ledger.close()
    with path.open("ab") as file:
        file.write(b"B" + torn[:19])
    _fate_fits(path, model)


def test_every_cut_of_a_ledger_can_be_adopted(tmp_path: Path) -> None:
    """A process may die at any byte: what stands whole before it counts, the rest never happened."""
    path = tmp_path / "a" / "w0-1.ledger"
    ledger = LedgerFile(path)
    ledger.begin(b"a" * 16, 1)
    ledger.conclude(b"a" * 16, 1, AttemptOutcome(1, "bounced", "x", 550, text="no such user"))
    ledger.begin(b"b" * 16, 2)
    ledger.confirm([(b"a" * 16, 1)])
    ledger.close()
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        cut = tmp_path / f"cut-{length}"
        cut.write_bytes(whole[:length])
        adopted = adopt(cut)
        first = adopted.fate(b"a" * 16, 1)
        assert first is None or first.kind in ("in_doubt", "bounced")
        assert (adopted.fate(b"b" * 16, 2) is None) == (length < len(whole) - 21)
    assert adopted.fate(b"a" * 16, 1) is None
    assert adopted.confirmed == 1


@pytest.mark.parametrize("zeros", [1, 20, 21, 25, 4096])
def test_an_end_of_zeros_is_what_a_power_loss_leaves(tmp_path: Path, zeros: int) -> None:
    """The worker begins all the same; what stands before counts, and what isn't there was never begun."""
    path = tmp_path / "w0-1.ledger"
    ledger = LedgerFile(path)
    ledger.begin(b"a" * 16, 1)
    ledger.begin(b"b" * 16, 1)
    ledger.conclude(b"b" * 16, 1, AttemptOutcome(1, "delivered"))
    ledger.close()
    whole = path.read_bytes()
    for cut in range(22, len(whole) + 1):
        path.write_bytes(whole[:cut] + bytes(zeros))
        adopted = adopt(path)
        assert not adopted.damaged
        assert _kind(adopted.fate(b"a" * 16, 1)) == "in_doubt"
        assert _kind(adopted.fate(b"b" * 16, 1)) in ("", "in_doubt", "delivered")
        assert adopted.fate(b"c" * 16, 1) is None
    assert _kind(adopted.fate(b"b" * 16, 1)) == "delivered"


def test_a_damaged_ledger_says_so(tmp_path: Path) -> None:
    """What can be read counts; a mark of whatever else its egress had may be in the rest."""
    path = tmp_path / "w0-1.ledger"
    ledger = LedgerFile(path)
    ledger.conclude(b"a" * 16, 1, AttemptOutcome(1, "delivered"))
    ledger.begin(b"b" * 16, 1)
    ledger.begin(b"c" * 16, 1)
    ledger.close()
    raw = path.read_bytes()
    path.write_bytes(raw[:-42] + b"x" + raw[-41:])
    adopted = adopt(path)
    assert adopted.damaged
    assert _kind(adopted.fate(b"a" * 16, 1)) == "delivered"
    assert adopted.fate(b"c" * 16, 1) is None


def _kind(outcome: AttemptOutcome | None) -> str:
    return "" if outcome is None else outcome.kind


def test_a_living_writer_keeps_its_ledger(tmp_path: Path) -> None:
    """Whoever gets the lock adopts; before, nobody may guess."""
    path = tmp_path / "w0-1.ledger"
    ledger = LedgerFile(path)
    with pytest.raises(RefusedError, match="in use by a living egress"):
        adopt(path)
    ledger.close()
    adopt(path)


def test_a_ledger_is_never_written_by_two_lives(tmp_path: Path) -> None:
    """An incarnation that came twice would mix their marks."""
    path = tmp_path / "w0-1.ledger"
    LedgerFile(path).close()
    with pytest.raises(FileExistsError):
        LedgerFile(path)


def test_a_clean_end_removes_the_file(tmp_path: Path) -> None:
    """When nothing in it is wanted; closing twice is harmless."""
    path = tmp_path / "w0-1.ledger"
    ledger = LedgerFile(path, sync=True)
    ledger.begin(b"a" * 16, 1)
    ledger.close(remove=True)
    ledger.close(remove=True)
    assert not path.exists()


FULL = """
import resource, signal, sys
from pathlib import Path
from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import LedgerFile
from engine.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = LedgerFile(Path(sys.argv[1]))
ledger.begin(b"a" * 16, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (30, resource.RLIM_INFINITY))
for entry in (lambda: ledger.begin(b"b" * 16, 1),
              lambda: ledger.conclude(b"a" * 16, 1, AttemptOutcome(1, "delivered"))):
    try:
        entry()
    except StoreError as error:
        print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.begin(b"c" * 16, 1)
"""


def test_an_entry_that_doesnt_fit_on_the_disk_is_taken_back(tmp_path: Path) -> None:
    """What follows it once there is room can be read: no entry is there in part."""
    path = tmp_path / "w0-1.ledger"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["refused", "refused"]
    adopted = adopt(path)
    assert adopted.in_doubt == {(b"a" * 16, 1), (b"c" * 16, 1)}
    assert path.stat().st_size == 2 * 21


KILLED = """
import sys
from pathlib import Path
from deliverability.transport.ledger import LedgerFile
ledger = LedgerFile(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    ledger.begin(number.to_bytes(16), 1)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_marks_survive_the_kill_of_their_writer(tmp_path: Path) -> None:
    """Every mark that was told is there, and the lock is free."""
    path = tmp_path / "w0-1.ledger"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(200)]
        os.kill(writer.pid, signal.SIGKILL)
        told += [int(line) for line in writer.stdout.read().splitlines() if line]
    marks = adopt(path).in_doubt
    assert {(number.to_bytes(16), 1) for number in told} <= marks
    assert len(marks) <= told[-1] + 1
