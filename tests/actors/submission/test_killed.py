"""SIGKILL between the sync and the 250: the client sends again, nothing is doubled, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import smtplib
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.actors.submission.embedded import Catcher

ROOT = Path(__file__).resolve().parents[3]
MOMENTS = [("accepted", 3), ("kept", 2), ("accepted", 1), ("accepted", 4), ("kept", 1)]
MAILS = 14
MANY = 120  # recipients of one mail: more than are told in one unit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Life:
    """One life of the process."""

    def __init__(self, folder: Path, twin_port: int, port: int, moment: str, number: int) -> None:
        arguments = [str(folder), str(twin_port), str(port), moment, str(number)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.actors.submission.killed", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline()) != "ready\n":
            assert line, "it ended before it was ready"

    def killed(self) -> bool:
        """Wait for its end; tell whether it was the one that was meant."""
        self.process.communicate(timeout=30)
        return self.process.returncode == -signal.SIGKILL

    def end(self) -> dict[str, int]:
        """Let it drain. Returns the counters of the law."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        law: dict[str, int] = json.loads(out.splitlines()[-1])
        return law


def mail(number: int) -> tuple[list[str], bytes]:
    recipients = [f"r{number}-{n}@inbox.example" for n in range(MANY if number == 2 else 2)]
    message = (
        f"From: hello@shop.example\r\nSubject: {number}\r\nMessage-ID: <{number}@shop.example>\r\n"
        f"\r\nMail {number}\r\n"
    )
    return recipients, message.encode()


def submit_all(folder: Path, twin_port: int, dead_port: int) -> tuple[Life, int]:
    """Send each mail until it is taken, through lives that are killed. Returns one that delivers, and how many were."""
    port, again = free_port(), 0
    moments = [*MOMENTS, ("never", 0)]
    life = Life(folder, dead_port, port, *moments.pop(0))
    try:
        for number in range(MAILS):
            recipients, content = mail(number)
            while True:
                try:
                    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
                        client.sendmail("hello@shop.example", recipients, content)
                    break
                except (smtplib.SMTPServerDisconnected, ConnectionError):
                    assert life.killed()
                    again += 1
                    life = Life(folder, dead_port, port, *moments.pop(0))
        assert not moments, "each life but the last was killed"
        life.end()
    finally:
        if life.process.poll() is None:
            life.process.kill()
            life.process.communicate()
    return Life(folder, twin_port, port, "never", 0), again


@pytest.mark.timeout(120)
def test_nothing_is_doubled_and_nothing_lost(tmp_path: Path) -> None:
    """Mail goes out only in the last life, so that no duplicate can come from anywhere else."""

    async def run() -> None:
        catcher = Catcher()
        await catcher.listener.start("127.0.0.1")
        life, again = await asyncio.to_thread(
            submit_all, tmp_path, catcher.listener.port, free_port()
        )
        expected = {(r, n) for n in range(MAILS) for r in mail(n)[0]}
        try:
            for _ in range(3000):
                if len(catcher.mails) >= len(expected):
                    break
                await asyncio.sleep(0.01)
            law = await asyncio.to_thread(life.end)
        finally:
            if life.process.poll() is None:
                life.process.kill()
        await catcher.listener.stop()
        assert again == len(MOMENTS)
        arrived = Counter(
            (one.recipient, int(one.content.rpartition(b"Mail ")[2])) for one in catcher.mails
        )
        assert arrived == Counter(dict.fromkeys(expected, 1))
        assert law == {"accepted": len(expected), "delivered": len(expected)}

    asyncio.run(run())
