"""The configuration: one TOML file, one tree of frozen Structs, decoded once and passed down by parts.

Every field has its unit in its name, a default, a range and a description, from which `docs/configuration.md` is made
(`engine.settings_reference`). A mistake is one `ConfigError` with file, line and key. `VEREDUS_SECTION__KEY=value` in
the environment overrides a key of the file; which environment that is, the caller says.

    data_dir = ".veredus"

    [http]
    port = 8025

    [[tenant]]
    name = "default"
    from_domains = ["shop.example"]
"""

from __future__ import annotations

__all__ = (
    "CONFIG_BYTES_MAX",
    "DEFAULT_LIMITS",
    "DEFAULT_RETRY",
    "DEFAULT_STREAMS",
    "Config",
    "Delivery",
    "DkimKey",
    "Endpoint",
    "Http",
    "Inbound",
    "Limits",
    "Log",
    "Measures",
    "Preflight",
    "Relay",
    "RetryCurve",
    "Store",
    "Stream",
    "Submission",
    "Suppression",
    "Tenant",
    "Timeouts",
    "Webhook",
    "Workers",
    "parse",
)

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine import settings_checks, settings_rules, settings_text
from engine.errors import ConfigError, Place
from engine.redis_config import Redis
from engine.settings_cluster import Scaling
from engine.settings_delivery import (
    DEFAULT_LIMITS,
    DEFAULT_RETRY,
    DEFAULT_STREAMS,
    Delivery,
    DkimKey,
    Limits,
    RetryCurve,
    Stream,
    Timeouts,
)
from engine.settings_doors import Http, Submission
from engine.settings_measures import Measures, Preflight
from engine.settings_pacing import Pacing
from engine.settings_routes import Pool, Relay, Source
from engine.settings_types import Domain as _Domain
from engine.settings_types import File as _File
from engine.settings_types import KeyHash as _KeyHash
from engine.settings_types import Name as _Name
from engine.settings_types import Recipient as _Recipient

CONFIG_BYTES_MAX = 1 << 20
"""A longer configuration is refused unread."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `settings_types.Section`; of its own here, where the linter sees that defaults are copied."""


class Store(_Section, frozen=True, kw_only=True):
    """Where state lives. `partitions` is fixed when the data directory is made."""

    kind: Annotated[
        Literal["rocksdb", "redis", "memory"],
        Meta(
            description="`redis` for workers on several nodes; `memory` forgets everything when the process ends"
        ),
    ] = "rocksdb"
    partitions: Annotated[
        int,
        Meta(
            ge=1,
            le=32768,
            description="a power of two, never changed afterwards; a cluster wants thousands",
        ),
    ] = 32
    cache_mb: Annotated[
        int, Meta(ge=8, le=1_048_576, description="memory for blocks read, per store")
    ] = 128
    horizon_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3650,
            description="an input whose own time is older than this is refused; ids of inputs are remembered as long",
        ),
    ] = 30
    retention_days: Annotated[
        int, Meta(ge=1, le=36500, description="how long records of decisions are kept in the store")
    ] = 90
    free_mb_min: Annotated[
        int,
        Meta(
            ge=0,
            le=1_048_576,
            description="with less room on the disk of the data directory nothing new is taken or handed over",
        ),
    ] = 256
    blobs_kept_hours: Annotated[
        int,
        Meta(
            ge=0,
            le=87_600,
            description="content that applications brought goes so long after no message needs it; 0: it stays",
        ),
    ] = 24
    redis: Redis = Redis()


class Workers(_Section, frozen=True, kw_only=True):
    """The processes that own partitions and send mail."""

    count: Annotated[int, Meta(ge=0, le=1024, description="0: one a core")] = 0
    ray_address: Annotated[
        str,
        Meta(
            max_length=300,
            description="a Ray that runs, `auto`: this node's; a worker a CPU there, at most. Empty: a Ray of our own",
        ),
    ] = ""
    connections_max: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="to one site by one worker, such as what its address may open; 0: only what limits allow",
        ),
    ] = 0
    roles: Annotated[
        Literal["fused", "split"],
        Meta(
            description="`fused`: each worker owns partitions and sends; `split`: some do one, some the other"
        ),
    ] = "fused"
    egress_count: Annotated[
        int, Meta(ge=0, le=1024, description="senders with `split`; 0: as many as `count`")
    ] = 0
    egress_lost_after_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="with `split`: what a sender holds that can't be reached for so long is in doubt",
        ),
    ] = 60
    batch_max: Annotated[
        int, Meta(ge=1, le=100_000, description="inputs decided between two syncs, at most")
    ] = 2000
    credit_horizon_ms: Annotated[
        int,
        Meta(ge=50, le=2000, description="how much work, in time, an egress asks for in advance"),
    ] = 500
    intake_pending_max: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="inputs that wait in one worker before it answers `overloaded`",
        ),
    ] = 20_000
    memory_free_mb_min: Annotated[
        int,
        Meta(
            ge=0,
            le=1_048_576,
            description="with less memory to be had on the machine nothing new is taken; 0: it isn't looked at",
        ),
    ] = 64


class Endpoint(_Section, frozen=True, kw_only=True):
    """A system of yours that scenarios call by this name (step `webhook`), signed (Standard Webhooks)."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^\s/@]+(/[^\s]*)?$(?!\n)",
            description="https, or http on this machine",
        ),
    ]
    secret_file: Annotated[_File, Meta(description="what `veredus webhook secret --out FILE` made")]
    timeout_s: Annotated[int, Meta(ge=1, le=60, description="for an answer")] = 15


class Webhook(_Section, frozen=True, kw_only=True):
    """Where outcomes of a tenant's mail are posted, signed (Standard Webhooks). Without `url`: nowhere."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^$|^https?://[^\s/@]+(/[^\s]*)?$(?!\n)",
            description="https, or http on this machine",
        ),
    ] = ""
    secret_file: Annotated[
        _File, Meta(description="what `veredus webhook secret --out FILE` made")
    ] = ""
    timeout_s: Annotated[int, Meta(ge=1, le=60, description="for an answer")] = 15


class Tenant(_Section, frozen=True, kw_only=True):
    """Who owns contacts, scenarios and mail. Without any `[[tenant]]` there is one, named `default`."""

    name: Annotated[_Name, Meta(description="stands in every key, id and counter")] = "default"
    weight: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="its share of what is sent where several tenants wait for one route",
        ),
    ] = 1
    from_domains: Annotated[
        tuple[_Domain, ...],
        Meta(description="domains this tenant may write in From; you vouch for them"),
    ] = ()
    from_address: Annotated[
        str,
        Meta(
            pattern=r"^$|^[^@\s]+@[^@\s]+$(?!\n)",
            description="the From of templates that name none",
        ),
    ] = ""
    from_name: Annotated[str, Meta(max_length=200, description="the display name beside it")] = ""
    api_key_hashes: Annotated[
        tuple[_KeyHash, ...],
        Meta(description="hashes of this tenant's API keys, made by `veredus init`"),
    ] = ()
    stream: Annotated[_Name, Meta(description="stream of scenarios that name none")] = "marketing"
    topic: Annotated[
        str, Meta(max_length=100, description="consent topic of scenarios that name none")
    ] = "marketing"
    dkim: Annotated[tuple[DkimKey, ...], Meta(description="keys that sign")] = ()
    reverse_path_domain: Annotated[
        str,
        Meta(
            pattern=r"^$|^[a-z0-9_.-]{1,253}$(?!\n)",
            description="domain of the envelope's reverse-path, where bounces come to; empty: the From domain",
        ),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            pattern=r"^$|^https?://[a-z0-9.-]+(:[0-9]+)?$(?!\n)",
            description="where recipients reach the gateway (unsubscribe, tracked links; https); empty: nowhere",
        ),
    ] = ""
    tracking: Annotated[
        Literal["none", "clicks_and_opens"],
        Meta(description="whether links of marketing mail are rewritten and a pixel is added"),
    ] = "none"
    webhook: Webhook = Webhook()
    endpoint: dict[_Name, Endpoint] = {}
    contact_file: Annotated[
        _File,
        Meta(
            description="TOML about contacts: attribute names, zone, caps, quiet hours (docs/scenarios.md)"
        ),
    ] = ""
    secret_file: Annotated[
        _File, Meta(description="32 random bytes or more, which sign reverse-paths and links")
    ] = ""


class Suppression(_Section, frozen=True, kw_only=True):
    """Which failures put an address on the suppression list by themselves. Complaints and unsubscribing always do."""

    keep_addresses: Annotated[
        bool,
        Meta(
            description="keep addresses encrypted beside their hash, so that the list can be exported"
        ),
    ] = True
    hard_bounce_days: Annotated[
        int, Meta(ge=0, le=36500, description="how long a hard bounce holds; 0: until it is lifted")
    ] = 0
    soft_bounces: Annotated[
        int, Meta(ge=1, le=32, description="failures of one cause that suppress an address")
    ] = 3
    soft_window_days: Annotated[
        int, Meta(ge=1, le=365, description="within so many days of each other")
    ] = 30
    soft_holds_days: Annotated[
        int, Meta(ge=0, le=36500, description="for so long; 0: until it is lifted")
    ] = 90
    node_dir: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1000,
            description="where nodes other than that of `up` keep a copy of the list: a folder of the node's own disk; "
            "it may name variables of the node's environment ($TMPDIR)",
        ),
    ] = "/var/tmp/veredus"  # noqa: S108 -- it is refused where it belongs to another user


class Inbound(_Section, frozen=True, kw_only=True):
    """The listener for bounces, feedback loops and unsubscribe mail. `port` 0: none.

    It takes mail to signed reverse-paths, to the unsubscribe address and to `report_addresses`; nothing else.
    """

    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="25 where MX records lead to it")] = 0
    host_name: Annotated[_Domain, Meta(description="the name given in the greeting")] = "localhost"
    report_addresses: Annotated[
        tuple[_Recipient, ...],
        Meta(
            description="where feedback loops, DMARC and TLS reports come to; @domain for all of it"
        ),
    ] = ()
    reporters: Annotated[
        tuple[_Domain, ...],
        Meta(description="domains whose signature makes a complaint believed, besides the known"),
    ] = ()
    size_bytes_max: Annotated[
        int, Meta(ge=65536, le=1 << 26, description="a larger mail is refused with 552")
    ] = 10 << 20
    connections_max: Annotated[
        int, Meta(ge=1, le=10_000, description="more are answered with 421")
    ] = 200
    tls_cert_file: Annotated[
        _File, Meta(description="PEM, the whole chain; with `tls_key_file` offers STARTTLS")
    ] = ""
    tls_key_file: Annotated[_File, Meta(description="PEM, not encrypted")] = ""


class Log(_Section, frozen=True, kw_only=True):
    """What the instance writes about itself on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="and what is graver")
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"], Meta(description="`auto`: text on a terminal, else JSON")
    ] = "auto"


class Config(_Section, frozen=True, kw_only=True):
    """The whole tree. File names in it are relative to the configuration file, and resolved when parsed."""

    data_dir: Annotated[
        _File,
        Meta(min_length=1, description="state, ledgers, blobs, caught mail and the local socket"),
    ] = ".veredus"
    store: Store = Store()
    workers: Workers = Workers()
    scaling: Scaling = Scaling()
    http: Http = Http()
    submission: Submission = Submission()
    tenant: Annotated[
        tuple[Tenant, ...], Meta(min_length=1, description="the first is used where none is named")
    ] = (Tenant(),)
    delivery: Delivery = Delivery()
    source: Annotated[
        tuple[Source, ...], Meta(description="where mail comes from; none: this machine's choice")
    ] = ()
    pool: Annotated[
        tuple[Pool, ...],
        Meta(description="without any, all sources are the pool `default`, with equal weight"),
    ] = ()
    limits: Annotated[
        dict[_Domain, Limits], Meta(description="per domain; `default` for all others")
    ] = {}
    streams: Annotated[dict[_Name, Stream], Meta(description="per stream")] = {}
    suppression: Suppression = Suppression()
    pacing: Pacing = Pacing()
    measures: Measures = Measures()
    preflight: Preflight = Preflight()
    inbound: Inbound = Inbound()
    log: Log = Log()

    def tenant_named(self, name: str) -> Tenant | None:
        """Find a tenant by name."""
        return next((tenant for tenant in self.tenant if tenant.name == name), None)

    def stream(self, name: str) -> Stream | None:
        """Give a stream's policy: the file's, else the built-in one, else None."""
        return self.streams.get(name) or DEFAULT_STREAMS.get(name)

    def limits_of(self, domain: str) -> Limits:
        """Give the limits of a recipient's domain."""
        return self.limits.get(domain) or self.limits.get("default") or DEFAULT_LIMITS


def parse(text: str, file: str = "", environ: Mapping[str, str] | None = None) -> Config:
    """Make the configuration from the text of a TOML file and overrides.

    File names in it come back joined to the folder of `file`; in an override they are taken as they stand.

    Raises:
        ConfigError: the first mistake, with its file, line and key, or the name of the variable.
    """
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError(
            f"the configuration is longer than {CONFIG_BYTES_MAX} bytes", Place(file=file)
        )
    source = settings_text.Source(text, file)
    tree = source.tree()
    settings_checks.check_moved(tree, source)
    settings_text.decode(
        tree, Config, source
    )  # a mistake of the file is named before one of an override
    settings_text.resolve_files(tree, Config, file)
    source.overridden = settings_text.override(tree, Config, environ or {})
    config = settings_text.decode(tree, Config, source)
    settings_rules.check_store(config, source)
    settings_rules.check_tenants(config, source)
    settings_rules.check_http(config, source)
    settings_rules.check_submission(config, source)
    settings_rules.check_delivery(config, source)
    settings_checks.check_pools(config, source)
    settings_checks.check_pacing(config, source)
    settings_checks.check_limits(config, source)
    settings_checks.check_measures(config, source)
    return config
