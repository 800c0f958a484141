"""A process whose files can't grow, which is what a full disk comes to.

`python -m tests.actors.operations.full_disk DIR` prints what it saw as JSON. RLIMIT_FSIZE holds for every file of the
process: store, ledger and control log.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from tests.actors.operations.living import Living, config_of, living

LOT = 20
SMALL = 4096  # so that not even a new log can be begun


def limit(size: int) -> None:
    """Let no file of this process grow beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def story(folder: Path) -> dict[str, Any]:
    """Fill the disk in the middle of the work, look, make room, look again."""
    async with living(config_of(folder)) as here:
        names = [f"p{n}" for n in range(40 * LOT)]
        before = names[: 10 * LOT]
        acknowledged = set(before)
        assert set(await here.send(before)) == {"accepted"}
        limit(SMALL)
        told = await _until_refused(here, names, acknowledged)
        refused = await _tried(here, ["late"])
        await here.until(lambda: bool(here.worker.status().trouble))
        trouble = here.worker.status().trouble
        taken_while_full = len(here.sink.taken)
        limit(resource.RLIM_INFINITY)
        await here.until(lambda: not here.worker.status().trouble)
        for at in range(0, len(names), LOT):
            verdicts = Counter(await _insist(here, names[at : at + LOT]))
            assert set(verdicts) <= {"accepted", "duplicate"}
        lost = [name for name in acknowledged if here.state(name) == "absent"]
        await here.until(lambda: here.ends() == {"delivered": len(names)})
        recount = (await here.recounted()).recount
        doubts = sum(one.kind == "in_doubt" for one in here.outcomes())
        return {
            "told": told,
            "refused": refused,
            "trouble": trouble,
            "failures": here.worker.status().store_failures,
            "taken_while_full": taken_while_full,
            "lost": lost,
            "arrived": len(here.sink.taken),
            "distinct": len(set(here.sink.taken)),
            "messages": len(names),
            "doubts": doubts,
            "agrees": recount.agrees,
            "findings": recount.findings,
        }


async def _until_refused(here: Living, names: list[str], acknowledged: set[str]) -> list[str]:
    told: list[str] = []
    for at in range(10 * LOT, len(names), LOT):
        lot = names[at : at + LOT]
        told.append(await _tried(here, lot))
        if told[-1] != "accepted":
            return told
        acknowledged.update(lot)
    return told


async def _tried(here: Living, names: list[str]) -> str:
    try:
        return (await here.send(names))[0]
    except StoreError as error:
        return f"unknown: {error}"


async def _insist(here: Living, names: list[str]) -> list[str]:
    while True:
        try:
            verdicts = await here.send(names)
        except StoreError:
            continue
        if not verdicts[0].startswith("refused"):
            return verdicts
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(story(Path(sys.argv[1])))))
