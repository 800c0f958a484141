"""A deployment to measure: configuration, keys and catalog in a folder of its own, and how workers are made for it."""

from __future__ import annotations

__all__ = ("Sender", "configure", "publish_all", "worker_settings")

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from actors.publishing import Publication, publish
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from actors.worker.wire import WorkerSettings
from deliverability.compose.template import Template
from deliverability.dkim.keys import Algorithm, generate_pem
from engine.config import Config, DkimKey, Endpoint, Limits, Log, Tenant, Workers

SELECTOR = "bench"
CONNECTIONS = 40


class Sender(msgspec.Struct, frozen=True):
    """A tenant, and how its mail is signed."""

    tenant: str
    domain: str
    algorithm: Algorithm


def configure(
    folder: Path, senders: Sequence[Sender], workers: int, endpoints: Sequence[str] = ()
) -> Config:
    """Make keys and configuration; mail goes to whatever listens on the port that workers are told.

    `endpoints`: what the scenarios of all senders call. Workers put the calls on the feed; nobody makes them.
    """
    keys = folder / "keys"
    keys.mkdir(parents=True)
    tenants = []
    for sender in senders:
        pem = keys / f"{sender.tenant}.pem"
        pem.touch(0o600)
        pem.write_bytes(generate_pem(sender.algorithm))
        tenants.append(
            Tenant(
                name=sender.tenant,
                from_domains=(sender.domain,),
                from_address=f"hello@{sender.domain}",
                from_name="The bench",
                dkim=(DkimKey(domain=sender.domain, selector=SELECTOR, key_file=str(pem)),),
                reverse_path_domain=f"bounces.{sender.domain}",
                endpoint={
                    name: Endpoint(url="http://127.0.0.1:9/", secret_file=str(keys / "endpoint"))
                    for name in endpoints
                },
            )
        )
    return Config(
        data_dir=str(folder / "data"),
        workers=Workers(count=workers),
        tenant=tuple(tenants),
        limits={
            "default": Limits(messages_per_s=1e6, burst=1_000_000, connections_max=CONNECTIONS)
        },
        log=Log(level="warning", format="json"),
    )


def publish_all(
    config: Config,
    scenarios: Mapping[str, Mapping[str, str]],
    templates: Mapping[str, Mapping[str, Template]],
) -> None:
    """Publish scenarios (by file name) and templates (by name) of each tenant."""
    publish(
        config,
        letterheads(config, secret_of),
        [
            Publication(tenant.name, scenarios.get(tenant.name, {}), templates.get(tenant.name, {}))
            for tenant in config.tenant
        ],
        now=time.time_ns() // 1_000_000,
        actor="bench",
        reason="measuring",
    )


def worker_settings(
    config: Config, sink_port: int = 0, log_time: int | None = None, *, tls: bool = False
) -> list[WorkerSettings]:
    """Make the settings of all workers; `log_time` (ms) is where a replay begins; `tls`: STARTTLS to the sink."""
    count = config.workers.count
    return [
        WorkerSettings(
            index=index,
            count=count,
            data_dir=config.data_dir,
            config=config,
            twin_port=sink_port,
            twin_tls=tls,
            log_time=log_time,
        )
        for index in range(count)
    ]
