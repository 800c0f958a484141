"""DKIM keys that change while an instance runs: each sender takes them, and one decides which key of a folder signs.

    a new SELECTOR.pem in `key_dir` ──DNS shows its record──▶ chosen in `dkim.json` ──▶ every sender signs with it
    `veredus dkim rotate`, a file that was replaced ────────────────────────────────────▶ likewise

A sender looks at the files every few seconds and loads keys anew when one has changed. What can't be loaded is told
and changes nothing: mail goes on with the keys that it had. Nothing switches to a key that DNS doesn't show
(RFC 6376 §3.1), and where DNS can't be asked nothing switches at all.
"""

from __future__ import annotations

__all__ = ("KeyChooser", "KeyWatch")

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from actors.dkim_state import (
    candidates,
    choice_of,
    configured_keys,
    read_chosen,
    read_pem,
    read_rotations,
    state_file,
    write_chosen,
)
from actors.worker.rendering import Letterhead, load_keys
from deliverability.dkim.keys import dns_name, load_key
from deliverability.dns.asking import Asking
from deliverability.policy.dkim_record import Published, compare, find_key
from engine.config import Config, DkimKey
from engine.control_log import Change
from engine.errors import TransportError, VeredusError
from engine.store.control_file import ControlFile

log = structlog.get_logger()

WATCH_S = 5.0
CHOOSE_S = 60.0

Ask = Callable[[Asking[Published]], Awaitable[Published]]
_Seen = tuple[tuple[str, int, int, int], ...]


class KeyWatch:
    """Keeps the keys of one process as the files say.

    Args:
        config: of the deployment.
        heads: whose keys are replaced in place.
        clock: monotonic, s.
    """

    def __init__(
        self, config: Config, heads: Mapping[str, Letterhead], clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._heads = heads
        self._clock = clock
        self._seen = self._look()
        self._next = clock() + WATCH_S

    def look(self) -> None:
        """Look whether a file has changed; cheap to call often."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + WATCH_S
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            fresh = {one.name: load_keys(self._config, one) for one in self._config.tenant}
        except VeredusError as error:
            log.warning("dkim_keys_not_taken", error=str(error)[:300])
            return
        for tenant, keys in fresh.items():
            head = self._heads[tenant]
            before = [(dns_name(one), one.public_bytes()) for one in head.keys]
            if before != [(dns_name(one), one.public_bytes()) for one in keys]:
                head.keys[:] = keys
                log.info("dkim_keys_taken", tenant=tenant, keys=[dns_name(one) for one in keys])

    def _look(self) -> _Seen:
        """Take down what would change when a key does: the state, the files, and what stands in folders."""
        config = self._config
        files = [state_file(Path(config.data_dir))]
        for key in (*(k for one in config.tenant for k in one.dkim), *config.delivery.dkim):
            if key.key_dir:
                files += sorted(Path(key.key_dir).glob("*.pem"))
            elif key.key_file:
                files.append(Path(key.key_file))
        with contextlib.suppress(
            VeredusError
        ):  # a state that can't be read is told when keys are loaded
            files += [Path(one.new_key_file) for one in read_rotations(Path(config.data_dir))]
        seen = []
        for file in files:
            try:
                told = file.stat()
            except OSError:
                continue
            seen.append((str(file), told.st_mtime_ns, told.st_size, told.st_ino))
        return tuple(seen)


class KeyChooser:
    """Decides which key of each folder signs. One for an instance.

    Args:
        config: of the deployment.
        ask: asks DNS.
        now: wall time, ms.
    """

    def __init__(self, config: Config, ask: Ask, now: Callable[[], int]) -> None:
        self._config = config
        self._ask = ask
        self._now = now
        self._told: dict[str, str] = {}  # why a key isn't taken yet, so that it is told once

    @property
    def folders(self) -> list[DkimKey]:
        """The folders of the configuration, each once; none where nothing leaves, and the newest key signs."""
        if self._config.delivery.mode == "twin":
            return []
        keys = [k for one in self._config.tenant for k in configured_keys(self._config, one)]
        return list({choice_of(key): key for key in keys if key.key_dir}.values())

    async def run(self) -> None:
        """Look for ever."""
        while self.folders:
            await asyncio.sleep(CHOOSE_S)
            await self.look()

    async def look(self) -> None:
        """Go through all folders once."""
        for key in self.folders:
            try:
                await self._choose(key)
            except (VeredusError, OSError) as error:
                self._tell(choice_of(key), str(error)[:300])

    async def _choose(self, key: DkimKey) -> None:
        """Take the newest key that DNS shows; the first choice of all is the newest one where DNS shows none."""
        data, name = Path(self._config.data_dir), choice_of(key)
        before = read_chosen(data).get(name, "")
        found = candidates(key)
        for one in found:
            if one.selector == before:
                return
            why_not = await self._why_not(one)
            if not why_not:
                self._switch(data, key, before, one.selector)
                return
            self._tell(f"{name} {one.selector}", why_not)
        if not before:
            write_chosen(data, key, found[0].selector)

    async def _why_not(self, key: DkimKey) -> str:
        loaded = load_key(read_pem(key, {}), key.domain, key.selector, key.key_file)
        try:
            return compare(await self._ask(find_key(key.selector, key.domain)), loaded)
        except TransportError as error:
            return f"DNS can't be asked: {error}"

    def _switch(self, data: Path, key: DkimKey, before: str, selector: str) -> None:
        change = Change(
            actor="keys",
            action="dkim_switch",
            subject=f"dkim {key.domain}",
            tenant="",
            reason=f"{before or 'none'} to {selector}: DNS shows it",
        )
        ControlFile(data / "control.log").append(self._now(), change)
        write_chosen(data, key, selector)
        log.info("dkim_key_chosen", domain=key.domain, selector=selector, before=before)

    def _tell(self, name: str, why: str) -> None:
        if self._told.get(name) != why:
            self._told[name] = why
            log.warning("dkim_key_not_taken", key=name, why=why)
