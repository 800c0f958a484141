"""Case `render`: composing one mail, from template and values to headers and body ready to be signed.

The ceiling is the template language alone, which renders HTML and text of the same mail.
"""

from __future__ import annotations

__all__ = ("run",)

import time
from collections.abc import Callable, Iterator
from itertools import count

import minijinja

from bench.content import KILOBYTES, holes, template
from bench.frame import Measured, Sample, costs, rounds
from deliverability.compose.composer import Skeleton, compile_template
from deliverability.compose.template import Letter, Profile
from deliverability.tokens import KeyRing

SENDER = "hello@shop.example"


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    turns, mails = (3, 200) if quick else (9, 2000)
    numbers = count(seed * 1_000_000)
    measures = []
    for kilobytes in KILOBYTES:
        measures.append(_ours(kilobytes, numbers, mails))
        measures.append(_ceiling(kilobytes, numbers, mails))
    found = rounds(turns, *measures)
    results = [
        costs(f"render_{size}k", "µs", found[f"render_{size}k"], found[f"ceiling_{size}k"])
        for size in KILOBYTES
    ]
    return Measured(results, {"rounds": turns, "mails_a_round": mails, "holes": len(holes(0))})


def skeleton(kilobytes: int) -> Skeleton:
    """Compile the template of a size, for a tenant with a one-click unsubscribe address."""
    profile = Profile(
        message_id_domain="shop.example",
        feedback_sender="shop",
        unsubscribe_mailto="unsubscribe@shop.example",
        keys=KeyRing(0, {0: bytes(32)}),
    )
    return compile_template(template(kilobytes, SENDER), profile)


def letters(numbers: Iterator[int], mails: int) -> list[Letter]:
    """Make letters, each with its own recipient and values."""
    return [
        Letter(
            message_id_hex=f"{number:032x}",
            tenant="shop",
            recipient=f"c{number}@d{number % 8}.example",
            date_ms=1_767_571_200_000 + number,
            variables={"event": holes(number)},
            display_name="Anna Kowalska",
            stream="marketing",
            scenario="orders",
            campaign="thanks",
        )
        for number in (next(numbers) for _ in range(mails))
    ]


def cpu_us(work: Callable[[], None], times: int) -> float:
    """Measure the CPU time of one of `times` pieces of work that `work` does."""
    begin = time.process_time()
    work()
    return (time.process_time() - begin) / times * 1e6


def _ours(kilobytes: int, numbers: Iterator[int], mails: int) -> Callable[[], Sample]:
    compiled = skeleton(kilobytes)

    def measure() -> Sample:
        waiting = letters(numbers, mails)

        def work() -> None:
            for letter in waiting:
                compiled.compose(letter)

        return {f"render_{kilobytes}k": cpu_us(work, mails)}

    return measure


def _ceiling(kilobytes: int, numbers: Iterator[int], mails: int) -> Callable[[], Sample]:
    source = template(kilobytes, SENDER)
    environment = minijinja.Environment(
        templates={"mail.html": source.html, "mail.txt": source.text or ""}
    )

    def measure() -> Sample:
        values = [holes(next(numbers)) for _ in range(mails)]

        def work() -> None:
            for event in values:
                environment.render_template("mail.html", event=event)
                environment.render_template("mail.txt", event=event)

        return {f"ceiling_{kilobytes}k": cpu_us(work, mails)}

    return measure
