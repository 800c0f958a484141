"""The command `veredus`: finds the module of a subcommand and imports nothing else.

`veredus status` has to answer within 300 ms, so the table below has names and help lines only; each module exports a
typer application called `app`. Other packages add commands by the entry point group `veredus.commands`, which is looked
at only for a name that isn't in the table, and for the help.

Exit status: 0 done; 1 it failed, or some of it; 2 a mistake of the user; 130 interrupted.
"""

from __future__ import annotations

__all__ = ("COMMANDS", "added_commands", "find_command", "main", "run")

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from engine.errors import UserError, VeredusError

ENTRY_POINTS = "veredus.commands"
FAILED = 1
USER_MISTAKE = 2
INTERRUPTED = 130


class Command(NamedTuple):
    """Where a subcommand lives, and its line in the help."""

    module: str
    help: str


COMMANDS = {
    "init": Command("actors.cli.init", "Write a commented configuration with keys and secrets."),
    "up": Command("actors.cli.up", "Run an instance until SIGTERM."),
    "demo": Command("actors.cli.demo", "Run the main job on generated purchases, and show it."),
    "replay": Command("actors.cli.replay", "Run an event log through scenarios, in its own time."),
    "status": Command("actors.cli.status", "Show workers, queues and counters of the instance."),
    "send": Command("actors.cli.send", "Send one message and tell its fate."),
    "explain": Command("actors.cli.explain", "Tell a message's story."),
    "outcomes": Command("actors.cli.outcomes", "Show what becomes of mail."),
    "notices": Command("actors.cli.notices", "Show what scenarios put on a channel."),
    "contacts": Command("actors.cli.contacts", "Import contacts, show or erase one."),
    "audit": Command("actors.cli.audit", "Show control log and conservation law; check both."),
    "queue": Command("actors.cli.queue", "Suspend, cancel, reroute what waits; messages in doubt."),
    "webhook": Command(
        "actors.cli.webhook", "Test the endpoints that are told outcomes, or called by scenarios."
    ),
    "quarantine": Command("actors.cli.quarantine", "Inputs that couldn't be decided."),
    "store": Command("actors.cli.store", "Check, read, move the data of an instance that is down."),
    "cluster": Command(
        "actors.cli.cluster", "Workers, nodes, partitions; drain, rebalance, scale."
    ),
    "health": Command("actors.cli.health", "How each source is doing at each provider, and why."),
    "backup": Command("actors.cli.backup", "Copy a deployment that is down, and verify the copy."),
    "restore": Command("actors.cli.restore", "Bring a deployment back from a copy."),
    "scenario": Command("actors.cli.scenario", "Check, test, publish and move scenarios."),
    "coupons": Command("actors.cli.coupons", "Pools of coupon codes, each given once."),
    "products": Command("actors.cli.products", "Lists of products for conditions and mail."),
    "segment": Command("actors.cli.segment", "Publish and count segments."),
    "campaign": Command("actors.cli.campaign", "Send once to a segment, from test to report."),
    "experiment": Command("actors.cli.experiment", "Plan experiments, report on them, decide."),
    "twin": Command("actors.cli.twin", "Run a model of a provider; read the mail it caught."),
    "feedback": Command("actors.cli.feedback", "Read bounces, complaints and reports."),
    "suppression": Command("actors.cli.suppression", "To whom no mail may go, and why."),
    "shaping": Command("actors.cli.shaping", "Check and explain shaping rules."),
    "preview": Command("actors.cli.preview", "Show what a contact would get; nothing is sent."),
    "preflight": Command("actors.cli.preflight", "Check what providers demand, before a send."),
    "source": Command("actors.cli.source", "Show sources; take one out, bring it back."),
    "trace": Command("actors.cli.trace", "Show single sessions with a site, redacted."),
    "dkim": Command("actors.cli.dkim", "Make, show, check and rotate DKIM keys."),
}


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit status; mistakes and failures are one line on standard error."""
    try:
        status = _dispatch(list(arguments))
        sys.stdout.flush()  # here, where a reader that has gone is understood
    except UserError as error:
        return _complain(error, USER_MISTAKE)
    except VeredusError as error:
        return _complain(error, FAILED)
    except ExceptionGroup as group:
        return _complain_of_group(group)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; the interpreter's own flush at the end must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        sys.stdout.write(_help())
        return 0
    if name in ("--version", "version"):
        sys.stdout.write(f"veredus {_version()}\n")
        return 0
    app = find_command(name)
    try:
        app(args=arguments[1:], prog_name=f"veredus {name}")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FAILED if ended.code else 0
    return 0


def find_command(name: str) -> Callable[..., Any]:
    """Give the application of a subcommand. Raises: UserError: there is none of this name."""
    command = COMMANDS.get(name)
    if command is not None:
        app: Callable[..., Any] = import_module(command.module).app
        return app
    added = added_commands()
    if name in added:
        found: Callable[..., Any] = added[name].load()
        return found
    from difflib import get_close_matches

    near = get_close_matches(name, [*COMMANDS, *added], n=1)
    mend = f"did you mean {near[0]!r}?" if near else "`veredus --help` lists all"
    raise UserError(f"there is no command {name!r}", mend=mend)


def added_commands() -> dict[str, Any]:
    """Find the commands that other packages add."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _help() -> str:
    added = {
        name: "Measure against ceilings." if name == "bench" else "" for name in added_commands()
    }
    lines = {name: command.help for name, command in COMMANDS.items()} | added
    width = max(map(len, lines))
    listed = "".join(f"  {name:<{width}}  {line}".rstrip() + "\n" for name, line in lines.items())
    return (
        "Usage: veredus COMMAND [OPTIONS]\n\n"
        "A durable engine for automated e-mail: events in, journeys decide, signed mail out.\n\n"
        f"Commands:\n{listed}\n"
        "`veredus COMMAND --help` tells more. A running instance is found by its data directory\n"
        "(./.veredus, or --data).\n"
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("veredus")
    except PackageNotFoundError:
        return "(not installed)"


def _complain_of_group(group: ExceptionGroup[Exception]) -> int:
    """Tell the first of errors that tasks raised together, unless one of them is a mistake of ours."""
    expected, others = group.split(VeredusError)
    if others is not None or expected is None:
        raise group
    error: BaseException = expected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, VeredusError)
    return _complain(error, USER_MISTAKE if isinstance(error, UserError) else FAILED)


def _complain(error: VeredusError, status: int) -> int:
    line = " ".join(str(error).split())
    sys.stdout.flush()
    sys.stderr.write(f"veredus: {line}\n")
    return status
