"""`veredus status`: the running instance at a glance."""

from __future__ import annotations

__all__ = ("app",)

import os

from actors.backend import StatusView
from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import ago, clock, print_json, print_line, print_table

app = new_app("Show workers, queues and counters of the running instance.")


@app.command()
def status(data: Data = None, as_json: AsJson = False) -> None:
    """Show workers, queues and counters of the running instance."""
    with Client(find_data_dir(data, os.environ)) as client:
        view = client.get("/v1/status", StatusView)
    if as_json:
        print_json(view)
        return
    print_line(
        f"Veredus {view.version}, mode {view.mode}, up {ago(view.now_ms - view.started_ms)}, "
        f"{view.partitions} partitions, now {clock(view.now_ms)}"
    )
    print_line(
        f"{view.contacts:,} contacts, {view.journeys_waiting:,} journeys waiting, "
        f"{view.quarantined:,} inputs in quarantine"
    )
    _print_tables(view)


def _print_tables(view: StatusView) -> None:
    print_table(
        "Workers",
        ("name", "role", "state", "partitions", "inputs waiting", "in the air", "restarts", "pid"),
        [
            (
                worker.name,
                worker.role,
                "alive" if worker.alive else "down",
                worker.partitions,
                worker.inputs_waiting,
                worker.in_the_air,
                worker.restarts,
                str(worker.pid),  # a name, not an amount
            )
            for worker in view.workers
        ],
    )
    if view.queues:
        print_table(
            "Ready queues",
            ("route", "class", "tenant", "ready", "oldest", "rate/s", "state"),
            [
                (
                    queue.route,
                    queue.message_class,
                    queue.tenant,
                    queue.ready,
                    ago(view.now_ms - queue.oldest_ms) if queue.oldest_ms is not None else "",
                    round(queue.rate_per_s, 1),
                    "suspended" if queue.suspended else "",
                )
                for queue in view.queues
            ],
        )
    if view.law:
        buckets = sorted({bucket for counts in view.law.values() for bucket in counts})
        print_table(
            "Messages",
            ("stream", *buckets),
            [
                (stream, *(counts.get(bucket, 0) for bucket in buckets))
                for stream, counts in sorted(view.law.items())
            ],
        )
