"""A node's copy of the list in files: fetched, followed, mended; and what its processes make of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from actors.suppression.desk import Desk, Request, open_desk
from actors.suppression.files import hasher_of, key_of
from actors.suppression.follow import Follower
from actors.suppression.mirroring import Mirroring
from actors.suppression.node_shelf import NodeShelf, make_folder, node_folder, take_key
from actors.suppression.source import Source, list_id_of
from deliverability.suppression.broadcast import Asked, News, PageAsked, stamp_of
from deliverability.suppression.entry import Entry
from deliverability.suppression.machine import Lift, Suppress
from deliverability.suppression.mirror import Question
from deliverability.suppression.view import Guard
from engine.errors import ConfigError, DamageError

NOW = 1_700_000_000_000


class Clock:
    """A node's monotonic clock."""

    def __init__(self) -> None:
        self.ms = 5_000

    def __call__(self) -> int:
        return self.ms


class Direct:
    """A line to a source in this process. `cut`: questions come to nothing."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.cut = False
        self.asked: list[Asked | PageAsked] = []
        self._answers: list[tuple[object, News | bytes | None]] = []

    def send(self, question: Question) -> object:
        token = object()
        body = question.body
        self.asked.append(body)
        answer: News | bytes | None = None
        if self.cut:
            pass
        elif isinstance(body, Asked):
            answer = asyncio.run(self.source.news(msgspec.structs.replace(body, wait_ms=0)))
        else:
            answer = self.source.page(body)
        self._answers.append((token, answer))
        return token

    def wait(self, timeout_s: float) -> list[tuple[object, News | bytes | None]]:
        del timeout_s
        answers, self._answers = self._answers, []
        return answers

    def forget(self, token: object) -> None:
        del token


class World:
    """A desk on one node, a copy on another."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.home, self.away = folder / "home", folder / "away"
        self.desk = open_desk(self.home)
        key = key_of(self.home)
        self.list_id = list_id_of(key)
        make_folder(self.away)
        take_key(self.away, key)
        self.line = Direct(Source(self.home, self.clock))
        self.copy = self.another()

    def another(self) -> Mirroring:
        return Mirroring(self.away, self.list_id, self.line, self.clock)

    def follower(self) -> Follower:
        return Follower(self.away / "suppression", self.clock, copied=True)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.copy.turn(0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def suppress(desk: Desk, *addresses: str, at: int = NOW) -> None:
    requests = [
        Request(
            desk.digest(one), Suppress(Entry("operator", "manual", "test", "", at)), one.encode()
        )
        for one in addresses
    ]
    desk.change(at, requests)


def knows(follower: Follower, folder: Path, *addresses: str) -> list[bool]:
    follower.look()
    hasher = hasher_of(folder)
    return [bool(follower.view.entries(hasher.of(one))) for one in addresses]


def heard_of(follower: Follower) -> int | None:
    return follower.view.as_of


def test_a_copy_is_fetched_and_follows(world: World) -> None:
    """Snapshot first, then changes; the view is as old as the question whose answer it has."""
    suppress(world.desk, "a@x.example")
    follower = world.follower()
    assert knows(follower, world.away, "a@x.example") == [False]
    assert heard_of(follower) is None, "before it is there nothing is known"
    world.turn(3)
    assert knows(follower, world.away, "a@x.example", "b@x.example") == [True, False]
    assert follower.view.as_of == world.clock.ms
    suppress(world.desk, "b@x.example")
    world.clock.ms += 400
    assert knows(follower, world.away, "b@x.example") == [False]
    assert follower.view.as_of == world.clock.ms - 400, "looking makes a copy no younger"
    world.turn()
    assert knows(follower, world.away, "b@x.example") == [True]
    assert follower.view.as_of == world.clock.ms
    world.line.cut = True
    suppress(world.desk, "c@x.example")
    heard = world.clock.ms
    world.clock.ms += 5000
    world.turn()
    assert knows(follower, world.away, "c@x.example") == [False]
    assert follower.view.as_of == heard


def test_one_process_of_a_node_writes_and_another_takes_over(world: World) -> None:
    """The second goes on where the first was, without a snapshot."""
    suppress(world.desk, "a@x.example")
    world.turn(3)
    other = world.another()
    assert not other.turn(0), "one has the pen"
    world.copy.stop()
    world.copy.close()  # what its thread does when it ends
    suppress(world.desk, "b@x.example")
    before = len(world.line.asked)
    assert other.turn(0)
    assert knows(world.follower(), world.away, "a@x.example", "b@x.example") == [True, True]
    assert all(isinstance(one, Asked) for one in world.line.asked[before:])


def test_new_sorted_files_here_and_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Desk and copy each merge for themselves; who follows misses nothing, and no snapshot is needed."""
    monkeypatch.setattr("actors.suppression.desk.CHANGES_MIN", 90)
    monkeypatch.setattr("actors.suppression.node_shelf.CHANGES_MIN", 70)
    world.turn(3)
    begun = len(world.line.asked)
    follower = world.follower()
    held: dict[str, bool] = {}
    for number in range(30):
        names = [f"p{number}-{n}@x.example" for n in range(15)]
        suppress(world.desk, *names, at=NOW + number)
        lift = Request(world.desk.digest(names[0]), Lift(), names[0].encode() + b"l")
        world.desk.change(NOW + number, [lift])
        held |= {name: name != names[0] for name in names}
        if number % 2:
            world.turn(2)
            assert knows(follower, world.away, *held) == list(held.values())
            assert follower.view.version == world.desk.version
    assert all(isinstance(one, Asked) for one in world.line.asked[begun:])
    files = {path.suffix for path in (world.away / "suppression").glob("[0-9]*")}
    assert files == {".packed", ".changes", ".stamp"}
    assert len(list((world.away / "suppression").glob("*.packed"))) <= 2
    assert follower.view.base.count > 300
    world.copy.close()  # a process that dies
    world.copy = world.another()
    suppress(world.desk, "late@x.example")
    world.turn(2)
    assert knows(world.follower(), world.away, "late@x.example", *held) == [True, *held.values()]


def test_a_source_that_begins_anew_knows_what_led_to_its_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller died: a copy that has some of the former changes gets the rest, not everything."""
    monkeypatch.setattr("actors.suppression.desk.CHANGES_MIN", 50)
    suppress(world.desk, *(f"a{n}@x.example" for n in range(10)))
    world.turn(3)
    suppress(world.desk, *(f"b{n}@x.example" for n in range(60)), at=NOW + 1)
    world.line.source = Source(world.home, world.clock)
    begun = len(world.line.asked)
    suppress(world.desk, "c@x.example", at=NOW + 2)
    world.turn(2)
    assert knows(world.follower(), world.away, "b59@x.example", "c@x.example") == [True, True]
    assert all(isinstance(one, Asked) for one in world.line.asked[begun:])


def test_a_snapshot_is_fetched_in_pages_that_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies half way leaves its pages to the next; a damaged file is fetched again."""
    monkeypatch.setattr("actors.suppression.source.PAGE_BYTES", 256)
    monkeypatch.setattr("actors.suppression.desk.CHANGES_MIN", 50)
    names = [f"p{n}@x.example" for n in range(100)]
    suppress(world.desk, *names)
    world.turn(3)
    folder = world.away / "suppression"
    parts = list(folder.glob("*.part"))
    assert len(parts) == 1
    assert (size := parts[0].stat().st_size) >= 256
    world.copy.close()  # a process that dies
    spoiled = parts[0].read_bytes()
    parts[0].write_bytes(b"?" + spoiled[1:])
    world.copy = world.another()
    begun = len(world.line.asked)
    world.turn(40)
    pages = [one.at for one in world.line.asked[begun:] if isinstance(one, PageAsked)]
    assert pages[0] == size, "it goes on behind what is there"
    assert 0 in pages, "and begins again when the whole isn't what it should be"
    assert all(knows(world.follower(), world.away, *names))
    assert list(folder.glob("*.part")) == []


def test_a_copy_of_before_a_boot_is_as_old_as_can_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another boot's clock says nothing: until it is heard again nothing is known as of now."""
    world.turn(3)
    monkeypatch.setattr("actors.suppression.node_shelf._booted", b"another!")
    follower = world.follower()
    follower.look()
    assert heard_of(follower) is None
    world.turn()
    follower.look()
    assert follower.view.as_of == world.clock.ms


def test_a_source_without_files_gives_no_answer(tmp_path: Path) -> None:
    """It is as if it were away; then it is there."""
    source = Source(tmp_path, Clock())
    asked = Asked("x", -1, 0)
    assert asyncio.run(source.news(asked)) is None
    assert source.page(PageAsked("x", 0, 0)) == b""
    open_desk(tmp_path).close()
    news = asyncio.run(source.news(asked))
    assert news is not None
    assert news.snapshot is not None


def test_who_waits_hears_at_once_and_how_long_it_waited(world: World) -> None:
    """A question without news stays open until there are some."""

    async def story() -> tuple[News | None, News | None]:
        first = await world.line.source.news(Asked(world.list_id, -1, 0))
        assert first is not None
        assert first.snapshot is not None
        place = Asked(world.list_id, first.snapshot.version, stamp_of(first.snapshot), 5000)
        waiting = asyncio.ensure_future(world.line.source.news(place))
        await asyncio.sleep(0)
        world.clock.ms += 123
        suppress(world.desk, "a@x.example")
        came = await waiting
        quiet = await world.line.source.news(msgspec.structs.replace(place, wait_ms=0))
        return came, quiet

    came, quiet = asyncio.run(story())
    assert came is not None
    assert (came.version, came.waited_ms) == (world.desk.version, 123)
    assert quiet is not None
    assert quiet.frames == came.frames


def test_the_folder_of_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be named by the node's environment; what can't be used is said with what to do."""
    monkeypatch.setenv("NODE_DISK", str(tmp_path))
    assert node_folder("$NODE_DISK/v", "list") == tmp_path / "v" / "list"
    with pytest.raises(ConfigError, match="NO_SUCH"):
        make_folder(node_folder("$NO_SUCH/v", "list"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="node_dir"):
        make_folder(node_folder(str(tmp_path / "file"), "list"))
    folder = node_folder(str(tmp_path), "list")
    make_folder(folder)
    take_key(folder, b"k" * 32)
    take_key(folder, b"k" * 32)
    with pytest.raises(DamageError, match="isn't the key"):
        take_key(folder, b"l" * 32)
    assert (folder / "suppression.key").stat().st_mode & 0o777 == 0o600


def test_a_shelf_that_is_closed_lets_others_in(tmp_path: Path) -> None:
    """Closing twice is fine."""
    first, second = NodeShelf(tmp_path), NodeShelf(tmp_path)
    assert first.lock()
    assert first.lock()
    assert not second.lock()
    first.close()
    first.close()
    assert second.lock()
    second.close()


def test_a_copy_that_is_older_is_looked_after_a_hundred_times_a_second_at_most(
    world: World,
) -> None:
    """However often it is asked, and though a copy is always some hundred milliseconds old."""
    world.turn(3)
    follower = world.follower()
    looks: list[int] = []

    def look() -> None:
        looks.append(world.clock.ms)
        follower.look()

    guard = Guard(follower.view, hasher_of(world.away), world.clock, lambda: NOW, look)
    for _ in range(1000):
        world.clock.ms += 1
        assert guard.fresh()
        assert guard.fresh()
    assert 80 <= len(looks) <= 100
    assert guard.age_ms() == 1000
    world.clock.ms += 501
    assert not guard.fresh()
