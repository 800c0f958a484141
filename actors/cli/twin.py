"""`veredus twin`: a model of a mail provider, run by hand; the mail it caught, in a browser or as a list."""

from __future__ import annotations

__all__ = ("app",)

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.cli.client import find_data_dir
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from engine.errors import InputError, Place, RefusedError

if TYPE_CHECKING:
    from actors.twin.caught import Summary
    from actors.twin.server import TwinServer
    from deliverability.twin.config import TwinConfig
    from deliverability.twin.twin import TwinCounts

app = new_app("Run a model of a mail provider; read the mail that it caught.")

SMTP_PORT = 2525
INBOX_PORT = 8026


class Listening(msgspec.Struct, frozen=True):
    """Where a twin listens."""

    host: str
    port: int
    ports: dict[str, int]
    data: str


class Ended(msgspec.Struct, frozen=True):
    """What a twin did."""

    taken: dict[str, int]
    refused: dict[str, int]


class CaughtList(msgspec.Struct, frozen=True):
    """Caught mails, newest first, and how many there are in all."""

    total: int
    mails: list[Summary]


@app.callback(invoke_without_command=True)
def twin(
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help=f"Default: {SMTP_PORT}, with --inbox {INBOX_PORT}; 0: any free one.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where it listens; another than loopback only among containers.")
    ] = "127.0.0.1",
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A kind of provider. Default: plain.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Providers from a TOML file instead.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance, with --preset.")] = 0,
    every_mail: Annotated[
        bool,
        typer.Option(
            "--every-mail", help="Refuse nothing for good, and no mail more than three times."
        ),
    ] = False,
    starttls: Annotated[bool, typer.Option("--starttls", help="Offer STARTTLS.")] = False,
    keep: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Newest mails whose content is kept.")
    ] = 2000,
    verify_every: Annotated[
        int, typer.Option(min=0, metavar="N", help="Verify the signature of each Nth mail.")
    ] = 0,
    inbox: Annotated[
        bool, typer.Option("--inbox", help="Show caught mail in a browser instead.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List caught mail instead.")] = False,
    search: Annotated[
        str, typer.Option(metavar="WORDS", help="With --list: only mail with all these words.")
    ] = "",
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="With --list: at most so many.")
    ] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Run a twin on 127.0.0.1 until SIGTERM or SIGINT. What it catches goes no further than the data directory.

    Presets: plain, sink, gmail-like, microsoft-like, yahoo-like, wp-like, onet-like, greylister, flaky,
    forgetful, troublesome, slow, strict, and mixed (all of them, by the recipient's domain).
    """
    folder = find_data_dir(data, os.environ)
    if inbox and list_:
        raise InputError("expected --inbox or --list, got both", Place(path="--list"))
    if list_:
        _list(folder, search, limit, as_json=as_json)
    elif inbox:
        _show(folder, INBOX_PORT if port is None else port)
    else:
        from actors.twin.by_hand import run_twin
        from actors.twin.record import RecorderOptions
        from actors.twin.server import TwinServerOptions

        counts = run_twin(
            _config(preset, config, seed, every_mail=every_mail),
            folder,
            TwinServerOptions(
                host=host,
                port=SMTP_PORT if port is None else port,
                starttls=starttls,
                verify_every=verify_every,
            ),
            RecorderOptions(keep=keep),
            lambda server: _tell(server, folder, as_json=as_json),
        )
        _sum_up(counts, as_json=as_json)


def _config(preset: str | None, file: Path | None, seed: int, *, every_mail: bool) -> TwinConfig:
    from actors.twin.choosing import read_twin
    from deliverability.twin.presets import twin_of

    if file is None:
        return twin_of(preset or "plain", seed=seed, every_mail_in_the_end=every_mail)
    if preset is not None or seed or every_mail:
        raise InputError(
            "--config says all; --preset, --seed and --every-mail go without it",
            Place(path="--config"),
        )
    return read_twin(file)


def _tell(server: TwinServer, folder: Path, *, as_json: bool) -> None:
    host = server.options.host
    if as_json:
        print_json(Listening(host, server.port, server.ports, str(folder)))
        return
    names = ", ".join(server.twin.providers)
    print_line(
        f"Twin ({names}) listens on {host}:{server.port}; caught mail goes to {folder / 'twin'}"
    )
    print_line(
        "Read it with: veredus twin --inbox"
        + (f" --data {folder}" if folder != Path(".veredus") else "")
    )


def _sum_up(counts: TwinCounts, *, as_json: bool) -> None:
    refused = {
        f"{provider or '-'} {phase} {cause}": count
        for (provider, phase, cause), count in sorted(counts.refused.items())
    }
    if as_json:
        print_json(Ended(counts.taken, refused))
        return
    print_line(
        f"Took {sum(counts.taken.values()):,} mails, refused {sum(refused.values()):,} times"
    )
    for reason, count in refused.items():
        print_line(f"  {count:,}  {reason}")


def _show(folder: Path, port: int) -> None:
    from actors.twin.by_hand import run_inbox

    if not folder.is_dir():
        raise RefusedError(
            "there is no such data directory",
            Place(file=str(folder)),
            "name it with --data, or run `veredus twin` first",
        )
    run_inbox(folder, "127.0.0.1", port, lambda url: print_line(f"Inbox of {folder}: {url}"))


def _list(folder: Path, search: str, limit: int, *, as_json: bool) -> None:
    from actors.twin.caught import Caught

    total, mails = Caught(folder / "twin").search(search, 0, limit)
    if as_json:
        print_json(CaughtList(total, mails))
        return
    print_table(
        f"Caught mail: {len(mails):,} of {total:,}",
        ("no", "time", "from", "to", "subject", "provider", "octets"),
        [
            (
                mail.number,
                clock(mail.at),
                mail.sender,
                ", ".join(mail.recipients),
                mail.subject,
                ", ".join(mail.providers),
                mail.size,
            )
            for mail in mails
        ],
    )
