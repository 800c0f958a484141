"""`veredus twin` as a person uses it."""

from __future__ import annotations

import json
import signal
import smtplib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.cli.main import run
from actors.twin.record import MailHead, Recorder

ROOT = Path(__file__).parents[3]
MAIL = "From: <a@s.example>\r\nSubject: h\u00e9llo\r\nMessage-ID: <1@s>\r\n\r\nHello\r\n".encode()


@contextmanager
def veredus(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in a process of its own; it must end well when asked to."""
    command = [sys.executable, "-c", "from actors.cli.main import main; main()", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_run_catch_list_and_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A twin tells where it listens, catches mail, ends on SIGTERM with its counts; the mail is listed."""
    arguments = ("twin", "--port", "0", "--preset", "greylister", "--every-mail", "--json")
    with veredus(*arguments, "--data", str(tmp_path)) as process:
        assert process.stdout is not None
        listening = json.loads(process.stdout.readline())
        with smtplib.SMTP(listening["host"], listening["port"]) as smtp:
            for _ in range(3):
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    smtp.sendmail("b@s.example", ["u@p.example"], MAIL)
            smtp.sendmail("b@s.example", ["u@p.example"], MAIL)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out) == {
        "taken": {"greylister": 1},
        "refused": {"greylister rcpt greylisted": 3},
    }
    assert run(["twin", "--list", "--json", "--data", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["total"] == 1
    assert listed["mails"][0]["subject"] == "h\u00e9llo"
    assert run(["twin", "--list", "--data", str(tmp_path)]) == 0
    assert "u@p.example" in capsys.readouterr().out


def test_inbox_is_served_until_asked_to_end(tmp_path: Path) -> None:
    """The inbox prints its address, shows the mail, and ends on SIGINT."""
    recorder = Recorder(tmp_path / "twin")
    recorder.mail(MailHead(0, "b@s", (("u@p", "plain"),)), MAIL)
    recorder.close()
    with veredus("twin", "--inbox", "--port", "0", "--data", str(tmp_path)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(url, timeout=20) as page:
            assert "h\u00e9llo" in page.read().decode()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--preset", "gmial-like"], "there is no preset 'gmial-like'"),
        (["--config", "{data}/absent.toml"], "can't be read: No such file"),
        (["--config", "{data}/bad.toml"], "bad.toml:1:1: sede: unknown key"),
        (["--config", "{data}/latin.toml"], "isn't UTF-8 at octet 2"),
        (["--config", "{data}/bad.toml", "--preset", "plain"], "--config says all"),
        (["--inbox", "--list"], "got both"),
        (["--inbox", "--data", "{data}/absent"], "there is no such data directory"),
    ],
)
def test_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """Each is one line on standard error and exit status 2."""
    (tmp_path / "bad.toml").write_text("sede = 3\n")
    (tmp_path / "latin.toml").write_bytes(b"# \xff\n")
    given = [argument.format(data=tmp_path) for argument in arguments]
    assert run(["twin", "--data", str(tmp_path), *given]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1


def test_a_taken_port_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both servers say which port is taken, and what to do."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        for mode in ([], ["--inbox"]):
            assert run(["twin", "--data", str(tmp_path), "--port", str(port), *mode]) == 2
            err = capsys.readouterr().err
            assert f"can't listen on 127.0.0.1:{port}" in err
            assert "--port" in err
