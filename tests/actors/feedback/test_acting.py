"""What findings ask for is done by marks, once, over restarts, and shown with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from actors.feedback.acting import ACTOR, Acting, ActingParts
from actors.queues import MarkView, QueueCommand, QueueDone, QueueList, Queues
from deliverability.feedback.findings import Finding
from deliverability.marks import Selection

HOUR = 3_600_000
NOW = 1_800_000_000_000


class Desk:
    """Stands for the queues of an instance: keeps marks, as they would be listed."""

    def __init__(self) -> None:
        self.marks: list[MarkView] = []
        self.number = 0

    async def list(self, tenant: str) -> QueueList:
        """Tell the marks."""
        del tenant
        return QueueList([], list(self.marks), {}, 0)

    async def act(self, tenant: str, action: Any, command: QueueCommand, actor: str) -> QueueDone:
        """Put a mark in force, or lift one."""
        selection = Selection(command.campaign, command.stream, tuple(command.domain), command.pool)
        if action == "resume":
            self.marks = [one for one in self.marks if one.number != command.mark]
            return QueueDone(tenant, action, selection, lifted=[command.mark])
        self.number += 1
        self.marks.append(MarkView(self.number, action, selection, NOW, actor, command.reason))
        return QueueDone(tenant, action, selection, self.number)


def finding(provider: str = "google") -> Finding:
    return Finding(
        id=f"complaints/day/shop/marketing/-/{provider}",
        gravity="critical",
        do="pause",
        says="0.50% of the 10,000 messages of a day were complained of",
        mend="send less",
        tenant="shop",
        stream="marketing",
        provider=provider,
    )


def acting(folder: Path, desk: Desk, findings: Sequence[Finding], now: int = NOW) -> Acting:
    parts = ActingParts(
        cast("Queues", desk),
        lambda: findings,
        lambda provider: [f"{provider}.example"],
        lambda: {("shop", "marketing")},
        folder / "measures.json",
        lambda: now,
        24 * HOUR,
    )
    return Acting(parts)


def test_a_stream_is_held_at_its_provider_and_let_go_after_a_restart(tmp_path: Path) -> None:
    """The mark names actor, stream, domains and reason; a new life neither repeats nor forgets it."""
    desk = Desk()
    assert asyncio.run(acting(tmp_path, desk, [finding()]).step()) == 1
    (mark,) = desk.marks
    assert (mark.action, mark.actor) == ("suspend", ACTOR)
    assert mark.selection == Selection(stream="marketing", domains=("google.example",))
    assert "0.50%" in mark.reason
    assert asyncio.run(acting(tmp_path, desk, [finding()]).step()) == 0
    assert asyncio.run(acting(tmp_path, desk, [], NOW + 25 * HOUR).step()) == 1
    assert desk.marks == []


def test_a_mark_of_before_a_crash_is_taken_for_its_measure(tmp_path: Path) -> None:
    """The mark was put in force, and the file that would say so never written: there is no second mark."""
    desk = Desk()
    one = acting(tmp_path, desk, [finding()])
    asyncio.run(one.step())
    (tmp_path / "measures.json").unlink()
    later = msgspec.structs.replace(finding(), says="0.61% of 12,000")
    again = acting(tmp_path, desk, [later])
    assert asyncio.run(again.step()) == 1
    assert [mark.number for mark in desk.marks] == [1]
    assert [held.mark for held in again.measures.held.values()] == [1]


def test_an_operator_has_the_last_word(tmp_path: Path) -> None:
    """Lifted by hand while the finding lasts: it stays lifted."""
    desk = Desk()
    asyncio.run(acting(tmp_path, desk, [finding()]).step())
    desk.marks.clear()
    for _ in range(3):
        asyncio.run(acting(tmp_path, desk, [finding()], NOW + HOUR).step())
    assert desk.marks == []
