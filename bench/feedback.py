"""Case `feedback`: reading what comes back.

`replies`: SMTP replies classified a second of CPU, with addresses, ids and hosts that differ each time; the ceiling is
an empty cache of the standard library asked for the exact text. `bounces`: mails of 4 to 5 KB read a second by two
processes, as `veredus feedback read` does with a folder; the ceiling is the standard library's parser (compat32) on the
same two. `bounces_core`: the same by one process, per second of its CPU time.
"""

from __future__ import annotations

__all__ = ("run",)

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from email import message_from_bytes
from functools import lru_cache

from bench.feedback_mails import mails, replies
from bench.frame import Measured, Sample, rates, rounds
from deliverability.feedback.reader import read
from deliverability.feedback.replies import classify_reply

PROCESSES = 2


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    turns, number = (3, 600) if quick else (7, 4000)
    with ProcessPoolExecutor(PROCESSES) as pool:
        list(
            pool.map(_read_all, [list(mails(20, 0))] * PROCESSES)
        )  # rules are compiled once a process
        found = rounds(
            turns,
            _replies(20 * number, seed),
            _cached(20 * number, seed),
            _core(number, seed),
            _pooled("bounces", _read_all, pool, number, seed),
            _pooled("ceiling_bounces", _parse_all, pool, number, seed),
        )
    return Measured(
        [
            rates("replies", "replies/s", found["replies"], found["ceiling_replies"]),
            rates("bounces", "mails/s", found["bounces"], found["ceiling_bounces"]),
            rates("bounces_core", "mails/s", found["bounces_core"], found["ceiling_core"]),
        ],
        {"rounds": turns, "mails_a_round": number, "replies_a_round": 20 * number},
    )


def _replies(number: int, seed: int) -> Callable[[], Sample]:
    turn = 0

    def measure() -> Sample:
        nonlocal turn
        turn += 1
        said = list(replies(number, seed * 1000 + turn))
        begin = time.process_time()
        for code, enhanced, text in said:
            classify_reply(code, enhanced, text, stage="rcpt")
        return {"replies": number / (time.process_time() - begin)}

    return measure


def _cached(number: int, seed: int) -> Callable[[], Sample]:
    @lru_cache(maxsize=65_536)
    def nothing(code: str, enhanced: str, text: str, stage: str) -> str:
        del code, enhanced, stage
        return text

    turn = 0

    def measure() -> Sample:
        nonlocal turn
        turn += 1
        said = list(replies(number, seed * 1000 + turn))
        begin = time.process_time()
        for code, enhanced, text in said:
            nothing(code, enhanced, text, "rcpt")
        return {"ceiling_replies": number / (time.process_time() - begin)}

    return measure


def _core(number: int, seed: int) -> Callable[[], Sample]:
    turn = 0

    def measure() -> Sample:
        nonlocal turn
        turn += 1
        batch = list(mails(number, seed * 2000 + turn))
        begin = time.process_time()
        _read_all(batch)
        middle = time.process_time()
        _parse_all(batch)
        return {
            "bounces_core": number / (middle - begin),
            "ceiling_core": number / (time.process_time() - middle),
        }

    return measure


def _pooled(
    name: str,
    work: Callable[[Sequence[bytes]], int],
    pool: ProcessPoolExecutor,
    number: int,
    seed: int,
) -> Callable[[], Sample]:
    turn = 0

    def measure() -> Sample:
        nonlocal turn
        turn += 1
        batch = list(mails(PROCESSES * number, seed * 3000 + turn))
        parts = [batch[at : at + 200] for at in range(0, len(batch), 200)]
        begin = time.perf_counter()
        done = sum(pool.map(work, parts))
        return {name: done / (time.perf_counter() - begin)}

    return measure


def _read_all(batch: Sequence[bytes]) -> int:
    for mail in batch:
        read(mail)
    return len(batch)


def _parse_all(batch: Sequence[bytes]) -> int:
    for mail in batch:
        message_from_bytes(mail)
    return len(batch)
