"""The faults of chaos: what is killed, stopped, cut, delayed, filled or moved.

Each returns when it is over or under way. What happens to several parties at once (a Redis and its replica behind
cut sockets) is one fault.
"""

from __future__ import annotations

__all__ = ("Faults", "Scene")

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from actors.cluster.calls import WorkerLostError
from actors.cluster.running import Cluster
from actors.instance.backend import ClusterBackend
from actors.worker.wire import WorkerStatus
from bench.chaos_world import RayNodes, RedisPair, SmallDisk
from bench.proxy import Proxy
from bench.redis_server import RedisServer
from engine.config import Config
from engine.errors import InputError
from engine.store.format import settle

PAUSE_S = 6.0
"""Longer than the controller waits for a worker: its partitions go elsewhere while it still believes to own them."""
SHORT_S = 2.0
FULL_S = 3.0
ASK_S = 0.2


class Scene(msgspec.Struct, frozen=True):
    """Who can be struck."""

    cluster: Cluster
    backend: ClusterBackend
    config: Config
    redis: RedisPair
    nodes: RayNodes
    smtp: Proxy
    data_disk: SmallDisk
    redis_disk: SmallDisk
    workers: int


class Faults:
    """All kinds, and what they cost in what may be in doubt. Make it in the loop that it strikes from.

    Args:
        scene: who can be struck.
        chance: which of several.
    """

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self._scene = scene
        self._chance = chance
        self.doubts = 0
        """How often all that was in the air of one worker may have come to be in doubt."""
        self._owner = asyncio.get_running_loop()
        self._later: list[asyncio.Task[None]] = []

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Name all faults."""
        found: dict[str, Callable[[], Awaitable[None]]] = {
            "worker killed": self._kill_worker,
            "Redis killed, started in place": self._kill_redis,
            "worker stopped for 6 s": self._stop_worker,
            "controller and governor killed": self._kill_controller,
            "Redis stopped for 2 s": self._stop_redis,
            "worker drained": self._drain,
            "sockets to Redis cut": self._cut_redis,
            "worker added": self._grow,
            "raylet killed, with its worker": self._kill_raylet,
            "gcs_server killed for 2 s": self._kill_gcs,
            "two workers killed at once": self._kill_both,
            "Redis failed over to its replica": self._fail_over,
            "sockets of SMTP cut": self._cut_smtp,
            "controller and governor stopped for 6 s": self._stop_controller,
            "network to Redis silent for 2 s": self._hush_redis,
            "raylet stopped for 2 s": self._stop_raylet,
            "gcs_server stopped for 2 s": self._stop_gcs,
            "network to Redis 50 ms slower for 2 s": self._slow_redis,
            "SMTP silent for 2 s": self._hush_smtp,
            "SMTP 200 ms slower for 2 s": self._slow_smtp,
            "worker taken away": self._shrink,
        }
        if self._scene.data_disk.there:
            found["data directory full for 3 s"] = self._fill_data
        if self._scene.redis_disk.there:
            found["disk of the Redis master full"] = self._fill_redis
        return found

    async def over(self) -> None:
        """Wait until what was begun has ended."""
        await asyncio.gather(*self._later)

    # ---- workers

    async def _pids(self) -> list[int]:
        """Give the processes of workers that have partitions: the death of another would be none."""
        while True:
            found = [one.pid for one in await self._statuses() if one.partitions]
            if found:
                return found
            await asyncio.sleep(ASK_S)

    async def _statuses(self) -> list[WorkerStatus]:
        while True:
            try:
                return await self._scene.backend.statuses()
            except WorkerLostError:
                await asyncio.sleep(ASK_S)

    async def _kill_worker(self) -> None:
        _signal(self._chance.choice(await self._pids()), signal.SIGKILL)
        self.doubts += 1

    async def _kill_both(self) -> None:
        for pid in (await self._pids())[:2]:
            _signal(pid, signal.SIGKILL)
            self.doubts += 1

    async def _stop_worker(self) -> None:
        """Stop one until others have its partitions, and let it go on: it must find itself fenced, and end."""
        self.doubts += 1
        self._stopped(self._chance.choice(await self._pids()), PAUSE_S)

    async def _drain(self) -> None:
        name = f"w{self._scene.cluster.workers[0].index}"
        await self._insist(lambda: self._scene.cluster.drain(name, back=False))
        await asyncio.sleep(1.0)
        await self._insist(lambda: self._scene.cluster.drain(name, back=True))

    async def _grow(self) -> None:
        scene = self._scene
        if len(scene.cluster.workers) > scene.workers:
            return
        highest = 1 + max(worker.index for worker in scene.cluster.workers)
        folder = Path(scene.config.data_dir)
        settle(folder, scene.config.store.partitions, highest + 1, kind="redis")
        await self._insist(lambda: scene.cluster.grow(1, 60.0))

    async def _shrink(self) -> None:
        cluster = self._scene.cluster
        if len(cluster.workers) > self._scene.workers:
            await self._insist(lambda: cluster.retire(cluster.workers[-1].index, 60.0))

    @staticmethod
    async def _insist(act: Callable[[], Awaitable[object]]) -> None:
        """Do what an operator does: again, while the controller restarts or doesn't know everybody yet."""
        while True:
            try:
                await act()
            except (WorkerLostError, InputError):
                await asyncio.sleep(ASK_S)
            else:
                return

    # ---- the controller, and Ray

    async def _controller(self) -> int:
        while True:
            try:
                return await self._scene.cluster.controller_pid()
            except WorkerLostError:
                await asyncio.sleep(ASK_S)

    async def _kill_controller(self) -> None:
        _signal(await self._controller(), signal.SIGKILL)

    async def _stop_controller(self) -> None:
        self._stopped(await self._controller(), PAUSE_S)

    async def _home(self) -> tuple[str, int]:
        """Give a worker that serves: its node and its process."""
        while True:
            pids = {f"w{one.index}": one.pid for one in await self._statuses() if one.partitions}
            told = await self._scene.cluster.nodes()
            found = [(node.id, pids[w]) for node in told for w in node.workers if w in pids]
            if found:
                return self._chance.choice(found)
            await asyncio.sleep(ASK_S)

    async def _kill_raylet(self) -> None:
        """Its worker ends with it; another node comes, as an autoscaler would bring it."""
        await self.over()
        nodes = self._scene.nodes
        node_id, pid = await self._home()
        self.doubts += 1
        await asyncio.to_thread(nodes.lose, nodes.node(node_id))
        await asyncio.to_thread(_await_end, pid)
        self._soon(0.0, lambda: asyncio.to_thread(nodes.add))

    async def _stop_raylet(self) -> None:
        nodes = self._scene.nodes
        self._stopped(nodes.raylet(nodes.node((await self._home())[0])), SHORT_S)

    async def _kill_gcs(self) -> None:
        await self.over()  # a node that comes now wouldn't
        nodes = self._scene.nodes
        await asyncio.to_thread(nodes.kill_gcs)
        self._soon(SHORT_S, lambda: asyncio.to_thread(nodes.start_gcs))

    async def _stop_gcs(self) -> None:
        self._stopped(self._scene.nodes.gcs, SHORT_S)

    # ---- Redis

    async def _kill_redis(self) -> None:
        server = await asyncio.to_thread(lambda: self._scene.redis.master)
        server.kill()
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(self._scene.redis.whole)

    async def _stop_redis(self) -> None:
        server = await asyncio.to_thread(lambda: self._scene.redis.master)
        self._stopped(server.pid, SHORT_S)

    async def _fail_over(self) -> None:
        await asyncio.to_thread(self._scene.redis.fail_over, RedisServer.kill)
        await asyncio.to_thread(self._scene.redis.whole)

    async def _cut_redis(self) -> None:
        self._scene.redis.order("reset")

    async def _hush_redis(self) -> None:
        self._scene.redis.order("hold")
        self._soon(SHORT_S, self._free_redis)

    async def _slow_redis(self) -> None:
        self._scene.redis.order("delay 50")
        self._soon(SHORT_S, self._free_redis)

    async def _free_redis(self) -> None:
        self._scene.redis.order("free")

    async def _fill_redis(self) -> None:
        """A Redis that syncs each write ends when it can't write: its replica takes over."""
        scene = self._scene
        if await asyncio.to_thread(lambda: scene.redis.master) is not scene.redis.servers[0]:
            await asyncio.to_thread(
                scene.redis.fail_over, RedisServer.kill
            )  # back to the small one
            await asyncio.to_thread(scene.redis.whole)
        await asyncio.to_thread(scene.redis.fail_over, self._fill)
        await asyncio.to_thread(scene.redis.whole)

    def _fill(self, server: RedisServer) -> None:
        scene = self._scene
        scene.redis_disk.fill()
        try:
            scene.redis.wait(lambda: server.ended, "the Redis without room ended")
        finally:
            scene.redis_disk.free()

    # ---- mail, and the disk of the workers

    async def _cut_smtp(self) -> None:
        self.doubts += len(self._scene.cluster.workers)
        self._scene.smtp.do("reset")

    async def _hush_smtp(self) -> None:
        self._scene.smtp.do("hold")
        self._soon(SHORT_S, self._free_smtp)

    async def _slow_smtp(self) -> None:
        self._scene.smtp.do("delay 200")
        self._soon(SHORT_S, self._free_smtp)

    async def _free_smtp(self) -> None:
        self._scene.smtp.do("free")

    async def _fill_data(self) -> None:
        """A worker that can't write its ledger may end, and what it had in the air be in doubt."""
        self.doubts += len(self._scene.cluster.workers)
        await asyncio.to_thread(self._scene.data_disk.fill)
        await asyncio.sleep(FULL_S)
        self._scene.data_disk.free()

    # ---- what ends by itself

    def _stopped(self, pid: int, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        _signal(pid, signal.SIGSTOP)
        self._owner.call_later(seconds, _signal, pid, signal.SIGCONT)

    def _soon(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            await act()

        self._later.append(self._owner.create_task(later()))


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself


def _await_end(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
