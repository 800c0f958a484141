"""The list on other nodes: a town of nodes with clocks of their own, whose questions and answers have bad luck.

Stated bound: no begin mark is written on any node later than 2 s after a suppression was acknowledged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from deliverability.egress import Egress, EgressSettings
from deliverability.message.records import AttemptOutcome
from deliverability.suppression.broadcast import (
    Asked,
    Backlog,
    News,
    PageAsked,
    Snapshot,
    stamp_of,
)
from deliverability.suppression.entry import Entry, Hasher
from deliverability.suppression.frames import frame_of, frames
from deliverability.suppression.machine import Change
from deliverability.suppression.mirror import Held, Mirror, Question
from deliverability.suppression.packed import (
    PREFIX_BYTES,
    Found,
    Packed,
    PackedWriter,
    empty,
    merge,
)
from deliverability.suppression.view import Guard, View
from engine.vocabulary import Message

BOUND_MS = 2000
PAGE = 64  # bytes: a snapshot takes many pages
HASHER = Hasher(b"k" * 32)
ROUTE = "default/example.org"
LIST = "list"


def entry_at(at: int) -> Entry:
    return Entry("operator", "manual", "test", "", at)


def written(base: Packed, changes: dict[bytes, tuple[Found, ...]], version: int) -> bytes:
    scopes, count, pieces = merge(base, changes, 0)
    raw: list[bytes] = []
    writer = PackedWriter(lambda piece: raw.append(bytes(piece)), version, scopes, count)
    for piece in pieces:
        writer.records(piece)
    return b"".join(raw)


def snapshot_of(version: int, raw: bytes) -> Snapshot:
    return Snapshot(version, len(raw), hashlib.sha256(raw).digest())


class Owner:
    """The list's owner with its files, and the source that reads them."""

    def __init__(self) -> None:
        self.version = 0
        self.base = empty()
        self.files = {0: self.base}  # sorted files by version: that in use and the former one
        self.told: list[bytes] = []  # frames since the sorted file
        self.changes: dict[bytes, tuple[Found, ...]] = {}
        self.log: dict[bytes, bool] = {}
        self.up = True
        self.backlog = Backlog(LIST, 0)

    def take(self, address: str, now: int, *, lift: bool = False) -> None:
        """Take a change: durable, told, acknowledged."""
        self.version += 3  # positions of a feed aren't consecutive
        change = Change(HASHER.of(address), () if lift else (entry_at(now),))
        raw = frame_of(self.version, [change])
        self.told.append(raw)
        held = tuple(Found(e.scope, e.reason, e.expires) for e in change.entries)
        self.changes[change.digest[:PREFIX_BYTES]] = held
        self.log[change.digest[:PREFIX_BYTES]] = not lift
        assert self.backlog.append(raw) == len(raw)

    def compact(self) -> None:
        former = Packed(self.base).version
        self.base = written(Packed(self.base), self.changes, self.version)
        self.files = {former: self.files[former], self.version: self.base}
        self.told.clear()
        self.changes.clear()
        self.backlog.rebase(self.version)

    def begin_anew(self) -> None:
        """Start again from what is durable: what led to the sorted file isn't known any more."""
        self.up = True
        self.backlog = Backlog(LIST, Packed(self.base).version)
        self.backlog.append(b"".join(self.told))

    def restore(self, copy: Owner) -> None:
        """Become what a backup says: history goes on from there, with the same numbers for other changes."""
        self.version, self.base, self.told = copy.version, copy.base, list(copy.told)
        self.files, self.changes, self.log = dict(copy.files), dict(copy.changes), dict(copy.log)
        self.begin_anew()

    def copy(self) -> Owner:
        made = Owner()
        made.restore(self)
        return made

    def answer(self, asked: Asked | PageAsked) -> News | bytes | None:
        if not self.up:
            return None
        if isinstance(asked, PageAsked):
            return self.files.get(asked.version, b"")[asked.at : asked.at + PAGE]
        version = Packed(self.base).version
        news = self.backlog.answer(asked)
        if news is None:
            snapshot = snapshot_of(version, self.base)
            self.backlog.know(snapshot)
            news = self.backlog.answer(asked)
        return news or News(LIST, asked.version, version, 0, snapshot=snapshot)


class MemoryShelf:
    """A node's files."""

    def __init__(self) -> None:
        self.base: bytes | None = None
        self.edition = 0
        self.raw = b""
        self.place = Held()
        self.parts: dict[Snapshot, bytes] = {}
        self.heard_of: tuple[int, int] | None = None
        self.spoil = False

    def held(self) -> Held:
        return self.place

    def part(self, snapshot: Snapshot) -> int:
        self.parts = {one: raw for one, raw in self.parts.items() if one == snapshot}
        return len(self.parts.get(snapshot, b""))

    def write(self, snapshot: Snapshot, at: int, raw: bytes) -> None:
        kept = self.parts.get(snapshot, b"")[:at]
        assert len(kept) == at, "pages leave no holes"
        self.parts[snapshot] = kept + (b"?" * len(raw) if self.spoil else raw)
        self.spoil = False

    def finish(self, snapshot: Snapshot) -> bool:
        raw = self.parts.pop(snapshot)
        if hashlib.sha256(raw).digest() != snapshot.digest:
            return False
        self.base, self.raw, self.edition = raw, b"", self.edition + 1
        self.place = Held(snapshot.version, stamp_of(snapshot))
        return True

    def append(self, raw: bytes, held: Held, changes: int) -> None:
        del changes
        for frame in frames(raw):
            assert frame.version > self.place.version, "no change is taken twice"
        self.raw, self.place = self.raw + raw, held

    def heard(self, version: int, as_of: int) -> None:
        assert version == self.place.version
        self.heard_of = (version, as_of)


class Marks:
    """Ledgers of a town: which marks were written, when by the town's clock."""

    def __init__(self) -> None:
        self.now = 0
        self.begun: list[tuple[int, bytes]] = []

    def begin(self, message_id: bytes, attempt: int) -> None:
        del attempt
        self.begun.append((self.now, message_id))

    def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
        pass

    def confirm(self, attempts: Sequence[tuple[bytes, int]]) -> None:
        pass


class Process:
    """A process of a node, which sends, and reads the node's files as `Follower` does."""

    def __init__(self, node: Node, marks: Marks, age_ms_max: int) -> None:
        self.node = node
        self.view = View()
        self.edition = -1
        self.read = 0
        self.started: list[Message] = []
        guard = Guard(self.view, HASHER, node.clock, node.clock, self.look, age_ms_max)
        self.egress = Egress(b"e", 1, marks, EgressSettings(in_hand_max=10_000), guard)

    def look(self) -> None:
        shelf = self.node.shelf
        heard = shelf.heard_of
        if shelf.base is None:
            return
        if shelf.edition != self.edition:
            self.view.rebase(Packed(shelf.base))
            self.edition, self.read = shelf.edition, 0
        for frame in frames(shelf.raw[self.read :]):
            self.view.apply(frame.version, frame.changes)
        self.read = len(shelf.raw)
        if heard is not None and self.view.version >= heard[0]:
            self.view.heard(heard[1])

    def work(self, chance: Random) -> None:
        """Start some, begin some of those that were started, end them."""
        now = self.node.clock()
        for _ in range(chance.randrange(4)):
            if (message := self.egress.take(ROUTE, now)) is not None:
                self.started.append(message)
        chance.shuffle(self.started)
        for _ in range(chance.randrange(4)):
            if self.started:
                message = self.started.pop()
                begun = self.egress.begin(message, now)
                kind = "delivered" if begun else "unattempted"
                self.egress.conclude(message, AttemptOutcome(1, kind))  # type: ignore[arg-type]
        self.egress.expire(now)


class Node:
    """A node with a clock of its own, the copy of the list, and processes that send by it."""

    def __init__(self, town: Town, offset: int) -> None:
        self.town = town
        self.offset = offset
        self.shelf = MemoryShelf()
        self.mirror = Mirror(LIST, self.shelf)
        self.cut = False
        self.asked_at = -1_000_000
        self.processes = [Process(self, town.marks, town.age_ms_max) for _ in range(2)]

    def clock(self) -> int:
        return self.town.marks.now + self.offset

    def ask(self) -> None:
        """Ask as the thread of a node does: at once for more, again when no answer came."""
        question = self.mirror.question()
        if question == self.town.last.get(self) and self.clock() - self.asked_at < 600:
            return
        self.town.last[self], self.asked_at = question, self.clock()
        self.town.send(self, question, self.clock())

    def begin_anew(self) -> None:
        """Lose the process that writes; the files stay."""
        self.mirror = Mirror(LIST, self.shelf)


class Town:
    """An owner, nodes, and what is on the way between them."""

    def __init__(self, seed: int, lost: float, age_ms_max: int = 1500, nodes: int = 2) -> None:
        self.chance = Random(seed)
        self.lost = lost
        self.age_ms_max = age_ms_max
        self.marks = Marks()
        self.owner = Owner()
        self.last: dict[Node, Question] = {}
        self.questions: list[tuple[int, Node, Question, int]] = []
        self.held_open: list[tuple[int, int, Node, Question, int]] = []
        self.answers: list[tuple[int, Node, Mirror, Question, int, News | bytes]] = []
        self.nodes = [Node(self, self.chance.randrange(10**6)) for _ in range(nodes)]
        self.number = 0
        self.to: dict[bytes, str] = {}
        self.suppressed: dict[str, int] = {}

    def delay(self) -> int:
        return self.chance.choice((1, 1, 3, 8, 40, 500))

    def send(self, node: Node, question: Question, asked_at: int) -> None:
        if not node.cut and self.chance.random() >= self.lost:
            at = self.marks.now + self.delay()
            self.questions.append((at, node, question, asked_at))

    def carry(self) -> None:
        """Let arrive what is due."""
        now = self.marks.now
        for one in [one for one in self.questions if one[0] <= now]:
            self.questions.remove(one)
            at, node, question, asked_at = one
            wait = question.body.wait_ms if isinstance(question.body, Asked) else 0
            self.held_open.append((now + wait, now, node, question, asked_at))
            del at
        for held in list(self.held_open):
            until, came, node, question, asked_at = held
            answer = self.owner.answer(question.body)
            empty_yet = isinstance(answer, News) and not answer.frames and answer.snapshot is None
            if empty_yet and now < until:
                continue
            self.held_open.remove(held)
            if isinstance(answer, News) and answer.snapshot is None:
                answer = msgspec.structs.replace(answer, waited_ms=now - came)
            for _ in range(self.chance.choice((1, 1, 1, 2))):
                if answer is not None and not node.cut and self.chance.random() >= self.lost:
                    due = now + self.delay()
                    self.answers.append((due, node, node.mirror, question, asked_at, answer))
        due_now = [one for one in self.answers if one[0] <= now]
        self.chance.shuffle(due_now)
        for arrived in due_now:
            self.answers.remove(arrived)
            _, node, mirror, question, asked_at, answer = arrived
            if node.mirror is not mirror:
                continue  # who asked has died
            self.last.pop(node, None)
            if isinstance(answer, News):
                mirror.news(question, asked_at, answer)
            else:
                mirror.page(question, answer)

    def hand_over(self, address: str) -> None:
        self.number += 1
        process = self.chance.choice(self.chance.choice(self.nodes).processes)
        now = process.node.clock()
        message = Message(
            message_id=self.number.to_bytes(16),
            tenant="shop",
            attempt=1,
            route=ROUTE,
            message_class=2,
            template="t",
            address=address,
            display_name="",
            variables={},
            stream="marketing",
            scenario="",
            step="",
            date=0,
            not_after=now + 2000,
            incarnation=1,
        )
        self.to[message.message_id] = address
        process.egress.accept(1, message, now)

    def step(self, ms: int) -> None:
        self.marks.now += ms
        self.carry()
        for node in self.nodes:
            node.ask()
        for node in self.nodes:
            for process in node.processes:
                process.work(self.chance)

    def suppress(self, address: str) -> None:
        self.owner.take(address, self.marks.now)
        self.suppressed[address] = self.marks.now

    def late(self) -> list[tuple[int, str]]:
        return [
            (at, self.to[m])
            for at, m in self.marks.begun
            if at > self.suppressed.get(self.to[m], at) + BOUND_MS
        ]

    def settle(self) -> None:
        """Nothing is lost any more, for a while."""
        self.lost = 0.0
        self.owner.up = True
        for node in self.nodes:
            node.cut = False
        for _ in range(2000):
            self.step(10)

    def misfortune(self) -> None:
        """Now and then something breaks, or is mended."""
        dice, node = self.chance.random(), self.chance.choice(self.nodes)
        if dice < 0.01:
            node.cut = not node.cut
        elif dice < 0.013:
            node.begin_anew()
        elif dice < 0.016:
            node.shelf.spoil = True
        elif dice < 0.026:
            self.owner.compact()
        elif dice < 0.03:
            self.owner.up = False
        elif dice < 0.06:
            self.owner.begin_anew()


def run(town: Town, steps: int = 2000) -> None:
    for _ in range(steps):
        address = f"p{town.chance.randrange(60)}@example.org"
        if town.chance.random() < 0.75:
            town.hand_over(address)
        elif town.owner.up and address not in town.suppressed and len(town.suppressed) < 45:
            town.suppress(address)
        town.misfortune()
        town.step(town.chance.choice((1, 5, 20, 40, 120)))


def knows(process: Process) -> dict[bytes, bool]:
    process.look()
    return {digest: bool(process.view.entries(digest)) for digest in process.node.town.owner.log}


@pytest.mark.parametrize("lost", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_no_mark_on_any_node_later_than_the_bound(seed: int, lost: float) -> None:
    """Lost, late, doubled, overtaken news; cut nodes; processes and an owner that begin anew: never too late."""
    town = Town(seed, lost)
    run(town)
    assert town.late() == []
    if lost == 0.0:
        assert len(town.marks.begun) > 30, "others go on"
    if lost == 1.0:
        assert town.marks.begun == [], "a node that knows nothing sends nothing"


@pytest.mark.parametrize("seed", range(6))
def test_every_copy_comes_to_be_the_list(seed: int) -> None:
    """When the bad luck ends, all views are what the owner has, and fresh."""
    town = Town(seed, 0.4)
    run(town)
    town.settle()
    for node in town.nodes:
        for process in node.processes:
            assert knows(process) == town.owner.log
            assert process.view.as_of is not None
            assert node.clock() - process.view.as_of <= 1500
    begun = len(town.marks.begun)
    town.hand_over("nobody@example.org")
    for _ in range(30):
        town.step(10)
    assert len(town.marks.begun) == begun + 1, "mail goes on"


def test_the_check_finds_a_node_that_trusts_an_old_view() -> None:
    """The first test can fail: with a bound a thousand times as long marks come too late."""
    late = 0
    for seed in range(6):
        town = Town(seed, 0.1, age_ms_max=1_500_000)
        run(town)
        late += len(town.late())
    assert late > 0


def test_a_node_that_is_cut_off_stops_and_goes_on_by_what_changed() -> None:
    """It holds, drops nothing, and needs no snapshot when it comes back."""
    town = Town(1, 0.0, nodes=1)
    node = town.nodes[0]
    for _ in range(100):
        town.step(10)
    assert node.mirror.counts.snapshots == 1
    node.cut = True
    for _ in range(200):
        town.step(10)
    town.hand_over("a@example.org")
    town.suppress("b@example.org")
    for _ in range(50):
        town.step(10)
    assert town.marks.begun == []
    outcomes = [one.outcome.kind for p in node.processes for one in p.egress.outcomes()]
    assert set(outcomes) <= {"unattempted"}, "given back, not ended"
    node.cut = False
    for _ in range(200):
        town.step(10)
    town.hand_over("a@example.org")
    town.hand_over("b@example.org")
    for _ in range(20):
        town.step(10)
    assert [town.to[m] for _, m in town.marks.begun][-1:] == ["a@example.org"]
    assert "b@example.org" not in [town.to[m] for _, m in town.marks.begun]
    assert node.mirror.counts.snapshots == 1


def test_an_old_file_is_caught_up_by_changes_or_by_a_new_one() -> None:
    """One sorted file behind: by changes. Two behind: by a snapshot, in pages that go on where they stopped."""
    town = Town(2, 0.0, nodes=1)
    node = town.nodes[0]
    town.suppress("a@example.org")
    for _ in range(100):
        town.step(10)
    node.cut = True
    town.suppress("b@example.org")
    town.owner.compact()
    town.suppress("c@example.org")
    node.cut = False
    for _ in range(200):
        town.step(10)
    assert node.mirror.counts.snapshots == 1
    assert all(knows(node.processes[0]).values())
    node.cut = True
    for n in range(40):
        town.suppress(f"d{n}@example.org")
        if n % 10 == 0:
            town.owner.compact()
    node.cut = False
    while not node.shelf.parts or len(next(iter(node.shelf.parts.values()))) < 3 * PAGE:
        town.step(1)
    kept = len(next(iter(node.shelf.parts.values())))
    node.begin_anew()
    asked: list[int] = []
    for _ in range(400):
        town.step(10)
        question = town.last.get(node)
        if question is not None and isinstance(question.body, PageAsked):
            asked.append(question.body.at)
    assert min(asked) >= kept, "pages that are here aren't fetched again"
    assert knows(node.processes[0]) == town.owner.log


def test_a_restored_list_is_another_history() -> None:
    """The same numbers for other changes: a copy of the former history isn't taken for a part of the new one."""
    town = Town(3, 0.0, nodes=1)
    town.suppress("a@example.org")
    backup = town.owner.copy()
    town.suppress("lost@example.org")
    for _ in range(100):
        town.step(10)
    town.owner.restore(backup)
    town.suppress("other@example.org")
    for _ in range(300):
        town.step(10)
    assert town.nodes[0].mirror.version == town.owner.version
    process = town.nodes[0].processes[0]
    assert knows(process) == town.owner.log
    assert not process.view.entries(HASHER.of("lost@example.org"))


def test_a_gap_is_seen_and_filled() -> None:
    """An answer that goes on beyond what is here is dropped, and its moment isn't believed."""
    owner, shelf = Owner(), MemoryShelf()
    mirror = Mirror(LIST, shelf)
    while shelf.base is None:
        question = mirror.question()
        answer = owner.answer(question.body)
        if isinstance(answer, News):
            mirror.news(question, 0, answer)
        elif isinstance(answer, bytes):
            mirror.page(question, answer)
    owner.take("a@example.org", 1)
    first = owner.version
    owner.take("b@example.org", 2)
    question = mirror.question()
    stamp = int.from_bytes(owner.told[0][4:8])
    beyond = owner.answer(Asked(LIST, first, stamp))
    assert isinstance(beyond, News)
    mirror.news(question, 50, beyond)
    assert (mirror.counts.gaps, shelf.heard_of, shelf.raw) == (1, None, b"")
    whole = owner.answer(question.body)
    assert isinstance(whole, News)
    mirror.news(question, 60, whole)
    mirror.news(question, 60, whole)
    assert shelf.heard_of == (owner.version, 60)
    mirror.news(question, 70, beyond)  # overtaken: it says nothing that isn't known
    assert (mirror.version, shelf.heard_of) == (owner.version, (owner.version, 70))
