"""Some mails of a run, as its twin accepted them: the newest of each step that sends."""

from __future__ import annotations

__all__ = ("read_samples",)

from collections.abc import Sequence
from pathlib import Path

from actors.report.run import SampleMail
from actors.twin.caught import Caught, CaughtMail
from actors.twin.reading import read, summarize
from actors.twin.signatures import KeyLookup, verify
from deliverability.message.records import OutcomeRecord

SAMPLES_MAX = 12
LOOKED_AT_MAX = 5_000


def read_samples(
    folder: Path, final: Sequence[OutcomeRecord], look_up: KeyLookup
) -> list[SampleMail]:
    """Take the newest mail of each scenario's step, up to a dozen.

    Args:
        folder: the twin's; one that isn't there (mail went elsewhere) has none.
        final: how messages ended, which tells where a mail came from.
        look_up: gives the keys that signatures are verified with.
    """
    origins = {one.message_id: (one.scenario, one.step) for one in final}
    caught = Caught(folder)
    found: dict[tuple[str, str], CaughtMail] = {}
    numbers = caught.numbers()
    for number in reversed(numbers[-LOOKED_AT_MAX:]):
        mail = caught.mail(number)
        if mail is None:
            continue
        name = summarize(mail.content).message_id.partition("@")[0]
        origin = origins.get(name)
        if origin is not None and origin not in found:
            found[origin] = mail
            if len(found) >= SAMPLES_MAX:
                break
    return [_sample(mail, *origin, look_up) for origin, mail in sorted(found.items())]


def _sample(mail: CaughtMail, scenario: str, step: str, look_up: KeyLookup) -> SampleMail:
    readable = read(mail.content)
    summary = summarize(mail.content)
    _, verdicts = verify(mail.content, look_up)
    return SampleMail(
        message_id=summary.message_id,
        scenario=scenario,
        step=step,
        log_ms=mail.head.at,
        sender=summary.sender,
        recipient=", ".join(path for path, _ in mail.head.recipients),
        subject=summary.subject,
        html=readable.html or "",
        text=readable.text or "",
        headers=list(readable.fields),
        signatures=[f"DKIM {one.domain}, {one.algorithm}: {one.verdict}" for one in verdicts],
    )
