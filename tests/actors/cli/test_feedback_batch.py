"""`veredus feedback read` of a folder: every file has its line, in order, whatever number of processes read it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from actors.cli.feedback import app

_MAIL = (
    "From: MAILER-DAEMON@relay.example\nSubject: Undelivered Mail Returned to Sender\n\n"
    "<person.{n}@shop.example>: host mx.example said: 550 5.1.1 User unknown\n"
)


def test_a_large_folder_is_read_as_a_small_one_is(tmp_path: Path) -> None:
    """Over a thousand files several processes read; the lines are those of one process, in the order of the names."""
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    for n in range(1_040):
        (many / f"{n:04}.eml").write_text(_MAIL.format(n=n))
        if n < 40:
            (few / f"{n:04}.eml").write_text(_MAIL.format(n=n))
    run = CliRunner().invoke
    small = run(app, ["read", "--json", str(few)])
    large = run(app, ["read", "--json", str(many)])
    assert small.exit_code == 0, small.output
    assert large.exit_code == 0, large.output
    lines = large.output.splitlines()
    assert len(lines) == 1_040
    assert small.output.splitlines() == lines[:40]
    assert '"file":"1039.eml"' in lines[-1]
