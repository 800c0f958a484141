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
    "Http",
    "Inbound",
    "Limits",
    "Log",
    "Measures",
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

from engine import settings_checks, settings_text
from engine.errors import ConfigError, Place
from engine.redis_config import Redis
from engine.settings_pacing import Pacing
from engine.settings_routes import Breaker, Destination, Dns, Pool, Relay, Source, Tls
from engine.settings_types import Domain as _Domain
from engine.settings_types import File as _File
from engine.settings_types import KeyHash as _KeyHash
from engine.settings_types import Name as _Name
from engine.settings_types import Network as _Network
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
    redis: Redis = Redis()


class Workers(_Section, frozen=True, kw_only=True):
    """The processes that own partitions and send mail."""

    count: Annotated[int, Meta(ge=0, le=1024, description="0: one a core")] = 0
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


class Http(_Section, frozen=True, kw_only=True):
    """The door for other programs. Without API keys it may be bound to loopback only."""

    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0: any free one")] = 8025
    tls_cert_file: Annotated[
        _File, Meta(description="PEM, the whole chain; with `tls_key_file` turns HTTPS on")
    ] = ""
    tls_key_file: Annotated[_File, Meta(description="PEM, not encrypted")] = ""
    require_key: Annotated[
        Literal["auto", "always"],
        Meta(
            description="`auto`: not on loopback; `always`: use it behind a proxy on the same machine"
        ),
    ] = "auto"
    operator_key_hashes: Annotated[
        tuple[_KeyHash, ...],
        Meta(
            description="hashes of keys that may read status, audit log and metrics of all tenants"
        ),
    ] = ()
    body_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="a larger request is answered with 413")
    ] = 8 << 20
    batch_max: Annotated[
        int, Meta(ge=1, le=100_000, description="items in one request; more is answered with 413")
    ] = 1000
    in_flight_bytes_max: Annotated[
        int,
        Meta(
            ge=1024, le=1 << 36, description="bodies held at one time; beyond it requests get 503"
        ),
    ] = 64 << 20
    connections_max: Annotated[
        int, Meta(ge=1, le=1_000_000, description="requests over more connections get 503")
    ] = 5000
    requests_in_flight_max: Annotated[
        int, Meta(ge=1, le=100_000, description="requests at one time; beyond it they get 503")
    ] = 1000
    body_timeout_s: Annotated[
        int, Meta(ge=1, le=3600, description="time to send the body of a request")
    ] = 30
    answer_timeout_s: Annotated[
        int,
        Meta(ge=1, le=3600, description="time for the engine to answer; then the request gets 503"),
    ] = 30
    keep_alive_s: Annotated[
        int, Meta(ge=1, le=3600, description="an idle connection is closed after this")
    ] = 65
    drain_timeout_s: Annotated[
        int, Meta(ge=1, le=600, description="time for requests under way when the instance ends")
    ] = 10
    outcomes_wait_ms_max: Annotated[
        int,
        Meta(ge=0, le=300_000, description="longest wait of `GET /v1/outcomes` for something new"),
    ] = 30_000


class Submission(_Section, frozen=True, kw_only=True):
    """The SMTP door for applications (RFC 6409). With neither port there is none; see docs/submission.md."""

    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="STARTTLS where there is a certificate; 0: none")
    ] = 0
    tls_port: Annotated[
        int, Meta(ge=0, le=65535, description="TLS from the first octet (RFC 8314); 0: none")
    ] = 0
    tls_cert_file: Annotated[
        _File, Meta(description="PEM, the whole chain; AUTH is offered over TLS alone")
    ] = ""
    tls_key_file: Annotated[_File, Meta(description="PEM, not encrypted")] = ""
    require_auth: Annotated[
        Literal["auto", "always"], Meta(description="`auto`: not from this machine on loopback")
    ] = "auto"
    size_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="a larger message is refused (RFC 1870)")
    ] = 25 << 20
    recipients_max: Annotated[
        int, Meta(ge=100, le=10_000, description="of one transaction; RFC 5321 wants 100 or more")
    ] = 1000
    connections_max: Annotated[int, Meta(ge=1, le=100_000, description="at one time")] = 1000
    connections_per_address_max: Annotated[
        int, Meta(ge=1, le=100_000, description="at one time, from one address")
    ] = 200
    held_bytes_max: Annotated[
        int,
        Meta(ge=1 << 20, le=1 << 36, description="content held at one time; beyond it: 452"),
    ] = 256 << 20
    idle_s: Annotated[int, Meta(ge=1, le=3600, description="a silent client is sent away")] = 300
    session_s_max: Annotated[
        int, Meta(ge=1, le=86_400, description="the longest session, however busy")
    ] = 3600
    stream: Annotated[_Name, Meta(description="of mail that names none")] = "transactional"
    pool: Annotated[str, Meta(max_length=63, description="of mail that names none")] = ""
    reverse_path: Annotated[
        Literal["signed", "caller"],
        Meta(
            description="`signed`: ours, so that bounces are understood; `caller`: as the client gave it"
        ),
    ] = "signed"
    repeat_s: Annotated[
        int,
        Meta(
            ge=1,
            le=604_800,
            description="how long an equal message without Message-ID is taken for a repetition",
        ),
    ] = 600


class DkimKey(_Section, frozen=True, kw_only=True):
    """One DKIM key of a tenant. Several for one domain sign a message several times. RFC 6376 §3.6."""

    domain: Annotated[_Domain, Meta(description="the d= of the signature")]
    selector: Annotated[_Domain, Meta(description="the s= of the signature")]
    key_file: Annotated[_File, Meta(description="PEM, RSA or Ed25519")] = ""
    key_env: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$(?!\n)",
            description="in place of `key_file`: the environment variable that holds the PEM",
        ),
    ] = ""


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
    contact_file: Annotated[
        _File,
        Meta(
            description="TOML about contacts: attribute names, zone, caps, quiet hours (docs/scenarios.md)"
        ),
    ] = ""
    secret_file: Annotated[
        _File, Meta(description="32 random bytes or more, which sign reverse-paths and links")
    ] = ""


class RetryCurve(_Section, frozen=True, kw_only=True):
    """When a deferred message is tried again: first_s times factor^n, never above max_s, spread by jitter."""

    first_s: Annotated[int, Meta(ge=1, le=86_400, description="before the second attempt")] = 300
    factor: Annotated[float, Meta(ge=1.0, le=10.0, description="growth from wait to wait")] = 2.0
    max_s: Annotated[int, Meta(ge=1, le=604_800, description="the longest wait")] = 14_400
    jitter_percent: Annotated[
        int, Meta(ge=0, le=50, description="each wait is made longer or shorter by up to this")
    ] = 20


class Timeouts(_Section, frozen=True, kw_only=True):
    """How long a sending session waits. The defaults of the replies are those of RFC 5321 §4.5.3.2."""

    connect_s: Annotated[int, Meta(ge=1, le=600, description="for the TCP connection")] = 30
    greeting_s: Annotated[int, Meta(ge=1, le=3600, description="for the 220")] = 300
    tls_s: Annotated[int, Meta(ge=1, le=600, description="for the TLS handshake")] = 30
    mail_s: Annotated[int, Meta(ge=1, le=3600, description="for the reply to MAIL")] = 300
    rcpt_s: Annotated[int, Meta(ge=1, le=3600, description="for the reply to RCPT")] = 300
    data_s: Annotated[int, Meta(ge=1, le=3600, description="for the reply to DATA")] = 120
    content_s: Annotated[int, Meta(ge=1, le=3600, description="for each piece of the content")] = (
        180
    )
    dot_s: Annotated[int, Meta(ge=1, le=3600, description="for the reply to the final dot")] = 600
    idle_s: Annotated[
        int, Meta(ge=1, le=600, description="a warm connection is closed after this")
    ] = 20


DEFAULT_RETRY: Mapping[str, RetryCurve] = {
    "default": RetryCurve(first_s=600),
    "greylisted": RetryCurve(first_s=360, factor=1.5, max_s=3600),
    "mailbox-full": RetryCurve(first_s=14_400, factor=2.0, max_s=86_400),
    "sending-too-fast": RetryCurve(first_s=300, factor=2.0, max_s=7200),
    "too-many-connections": RetryCurve(first_s=300, factor=2.0, max_s=7200),
    "connection": RetryCurve(first_s=120, factor=2.0, max_s=7200),
}
"""The curve of a cause that the file doesn't name."""


PROHIBITED = ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128", "::ffff:0:0/96")
"""Where no MX leads by default: this machine."""


class Delivery(_Section, frozen=True, kw_only=True):
    """Where mail goes. Nothing leaves this machine unless mode, From domain and `allow` say so."""

    mode: Annotated[
        Literal["twin", "relay", "live"],
        Meta(
            description="`twin`: models of providers on loopback; `relay`: one server; `live`: MX hosts"
        ),
    ] = "twin"
    allow: Annotated[
        tuple[_Recipient, ...] | Literal["any"],
        Meta(description='recipients outside mode `twin`: mailboxes, @domains, or "any"'),
    ] = ()
    ehlo_name: Annotated[_Domain, Meta(description="the name given in EHLO")] = "localhost"
    dkim: Annotated[
        tuple[DkimKey, ...],
        Meta(description="the platform's keys: they sign all mail, beside the tenant's"),
    ] = ()
    relay: Relay = Relay()
    backup: Annotated[
        tuple[Relay, ...],
        Meta(description="relays that take over, in this order, while those before are down"),
    ] = ()
    breaker: Breaker = Breaker()
    port: Annotated[
        int, Meta(ge=1, le=65535, description="of MX hosts; another one is for tests")
    ] = 25
    address_policy: Annotated[
        Literal["ipv4_only", "ipv6_only", "ipv4_first", "ipv6_first"],
        Meta(description="which addresses of MX hosts are used, and which first"),
    ] = "ipv4_first"
    prohibited_networks: Annotated[
        tuple[_Network, ...],
        Meta(description="addresses that no domain can make us connect to by its DNS"),
    ] = PROHIBITED
    tls: Tls = Tls()
    dns: Dns = Dns()
    destinations: Annotated[
        dict[_Domain, Destination], Meta(description="what you know better than DNS, by domain")
    ] = {}
    attempt_log: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="a line for each attempt in `attempts/` of the data directory; `auto`: not in mode `twin`"
        ),
    ] = "auto"
    timeouts: Timeouts = Timeouts()
    retry: Annotated[
        dict[_Name, RetryCurve],
        Meta(description="a curve per cause; `default` for all others"),
    ] = {}
    expires_s: Annotated[
        int, Meta(ge=60, le=2_592_000, description="age at which a message is given up")
    ] = 259_200
    connections_per_site_max: Annotated[
        int, Meta(ge=1, le=10_000, description="to one site, over all workers")
    ] = 20
    messages_per_connection_max: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="then the connection is closed and another opened"),
    ] = 500
    in_doubt_max: Annotated[
        int,
        Meta(
            ge=1,
            le=4096,
            description="messages in flight on a connection, with CHUNKING: what its loss leaves in doubt",
        ),
    ] = 16
    ledger_sync: Annotated[
        Literal["buffered", "power_loss"],
        Meta(description="`power_loss` syncs the begin mark of each message: safer, slower"),
    ] = "buffered"

    def curve(self, cause: str) -> RetryCurve:
        """Give the retry curve of a cause: the file's, then the built-in one, then the default."""
        for curves in (self.retry, DEFAULT_RETRY):
            if cause in curves:
                return curves[cause]
        return self.retry.get("default", DEFAULT_RETRY["default"])


class Limits(_Section, frozen=True, kw_only=True):
    """What may be sent to one domain, over all workers."""

    messages_per_s: Annotated[float, Meta(ge=0.001, le=1_000_000.0, description="steady rate")] = (
        1000.0
    )
    burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="messages at once after a pause")
    ] = 1000
    connections_max: Annotated[int, Meta(ge=1, le=10_000, description="at one time")] = 20


DEFAULT_LIMITS = Limits()
"""The limits of a domain when the file has no `[limits.default]`."""


class Stream(_Section, frozen=True, kw_only=True):
    """A kind of mail with its own policy."""

    in_doubt: Annotated[
        Literal["resend", "hold"],
        Meta(
            description="a message whose fate is unknown: `resend` risks a duplicate, `hold` a loss"
        ),
    ] = "resend"
    expires_s: Annotated[
        int, Meta(ge=0, le=2_592_000, description="0: as `delivery.expires_s`")
    ] = 0
    consent_topic: Annotated[
        str,
        Meta(
            max_length=100,
            description="the contact must have granted this; empty: no consent needed",
        ),
    ] = ""
    message_class: Annotated[
        Literal[0, 1, 2], Meta(description="0 urgent, 1 transactional, 2 bulk")
    ] = 2


DEFAULT_STREAMS: Mapping[str, Stream] = {
    "transactional": Stream(expires_s=86_400, message_class=1),
    "marketing": Stream(consent_topic="marketing"),
}
"""Streams that exist without being named in the file."""


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


class Measures(_Section, frozen=True, kw_only=True):
    """When complaints and bounces hold a bulk stream back by themselves. Rates are of a day, by provider and in all."""

    act: Annotated[
        bool,
        Meta(description="hold streams whose rates are over `…_pause_percent`; else only tell"),
    ] = True
    complaints_slow_percent: Annotated[
        float, Meta(gt=0, le=100, description="of what was accepted: told as a warning")
    ] = 0.1
    complaints_pause_percent: Annotated[
        float, Meta(gt=0, le=100, description="holds the stream at that provider; Google's ceiling")
    ] = 0.3
    bounces_slow_percent: Annotated[
        float, Meta(gt=0, le=100, description="of what was decided: told as a warning")
    ] = 2.0
    bounces_pause_percent: Annotated[float, Meta(gt=0, le=100, description="holds the stream")] = (
        5.0
    )
    messages_min: Annotated[
        int, Meta(ge=1, le=10_000_000, description="rates of fewer messages are chance")
    ] = 1000
    hold_hours: Annotated[
        int, Meta(ge=1, le=720, description="at least; then until the rate is good again")
    ] = 24


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
    settings_text.decode(
        tree, Config, source
    )  # a mistake of the file is named before one of an override
    settings_text.resolve_files(tree, Config, file)
    source.overridden = settings_text.override(tree, Config, environ or {})
    config = settings_text.decode(tree, Config, source)
    _check_store(config, source)
    _check_tenants(config, source)
    _check_http(config, source)
    _check_submission(config, source)
    _check_delivery(config, source)
    settings_checks.check_pools(config, source)
    settings_checks.check_pacing(config, source)
    return config


def _check_store(config: Config, source: settings_text.Source) -> None:
    partitions = config.store.partitions
    if partitions & (partitions - 1):
        raise source.error("store.partitions", f"must be a power of two, not {partitions}")
    redis = config.store.redis
    if redis.topology == "cluster" and redis.database:
        raise source.error("store.redis.database", "a Redis Cluster has only database 0")
    if bool(redis.cert_file) != bool(redis.key_file):
        present, absent = ("cert", "key") if redis.cert_file else ("key", "cert")
        raise source.error(
            f"store.redis.{present}_file", f"without store.redis.{absent}_file it can't be used"
        )


def _check_tenants(config: Config, source: settings_text.Source) -> None:
    _check_keys(config.delivery.dkim, "delivery.dkim", source)
    names: dict[str, int] = {}
    hashes: dict[str, str] = dict.fromkeys(config.http.operator_key_hashes, "the operator")
    for index, tenant in enumerate(config.tenant):
        path = f"tenant[{index}]"
        if tenant.name in names:
            raise source.error(f"{path}.name", f"two tenants are named {tenant.name!r}")
        names[tenant.name] = index
        for key in tenant.api_key_hashes:
            if key in hashes:
                raise source.error(
                    f"{path}.api_key_hashes", f"this API key belongs to {hashes[key]} already"
                )
            hashes[key] = f"tenant {tenant.name!r}"
        _check_from(tenant, path, source)
        _check_webhook(tenant.webhook, path, source)
        if config.stream(tenant.stream) is None:
            known = [*config.streams, *DEFAULT_STREAMS]
            mend = settings_text.did_you_mean(tenant.stream, known) or "add [streams.<name>]"
            raise source.error(f"{path}.stream", f"there is no stream {tenant.stream!r}", mend)


def _check_from(tenant: Tenant, path: str, source: settings_text.Source) -> None:
    domain = tenant.from_address.rpartition("@")[2].lower()
    if domain and domain not in tenant.from_domains:
        raise source.error(
            f"{path}.from_address",
            f"its domain {domain!r} isn't among from_domains",
            "add it there",
        )
    _check_keys(tenant.dkim, f"{path}.dkim", source)
    for number, key in enumerate(tenant.dkim):
        covers = any(d == key.domain or d.endswith(f".{key.domain}") for d in tenant.from_domains)
        if not covers:
            raise source.error(
                f"{path}.dkim[{number}].domain",
                f"{key.domain!r} signs for none of from_domains",
                "DKIM aligns with the From domain or a parent of it",
            )


def _check_keys(keys: tuple[DkimKey, ...], path: str, source: settings_text.Source) -> None:
    for number, key in enumerate(keys):
        if bool(key.key_file) == bool(key.key_env):
            raise source.error(
                f"{path}[{number}].key_file",
                "a key comes from a file or from the environment",
                "give key_file or key_env",
            )


def _check_webhook(webhook: Webhook, path: str, source: settings_text.Source) -> None:
    if not webhook.url:
        return
    if not webhook.secret_file:
        raise source.error(
            f"{path}.webhook.secret_file",
            "a webhook needs a secret to sign with",
            "`veredus webhook secret --out FILE` makes one",
        )
    host = webhook.url.partition("://")[2].partition("/")[0]
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if webhook.url.startswith("http://") and not settings_text.is_loopback(name):
        raise source.error(f"{path}.webhook.url", "outside this machine it must be https")


def _check_http(config: Config, source: settings_text.Source) -> None:
    http = config.http
    if bool(http.tls_cert_file) != bool(http.tls_key_file):
        present, absent = ("cert", "key") if http.tls_cert_file else ("key", "cert")
        raise source.error(
            f"http.tls_{present}_file",
            f"without http.tls_{absent}_file it can't be used",
            "set both",
        )
    keyed = http.operator_key_hashes or any(tenant.api_key_hashes for tenant in config.tenant)
    if not settings_text.is_loopback(http.host) and not keyed:
        raise source.error(
            "http.host",
            f"listening on {http.host!r} needs an API key",
            "`veredus init` makes one; or listen on 127.0.0.1",
        )
    if http.in_flight_bytes_max < http.body_bytes_max:
        raise source.error("http.in_flight_bytes_max", "is smaller than http.body_bytes_max")


def _check_submission(config: Config, source: settings_text.Source) -> None:
    door = config.submission
    if bool(door.tls_cert_file) != bool(door.tls_key_file):
        present, absent = ("cert", "key") if door.tls_cert_file else ("key", "cert")
        raise source.error(
            f"submission.tls_{present}_file",
            f"without submission.tls_{absent}_file it can't be used",
            "set both",
        )
    if door.tls_port and not door.tls_cert_file:
        raise source.error("submission.tls_port", "needs a certificate", "set tls_cert_file")
    keyed = any(tenant.api_key_hashes for tenant in config.tenant)
    opened = door.port or door.tls_port
    must = not settings_text.is_loopback(door.host) or door.require_auth == "always"
    if opened and must and not (keyed and door.tls_cert_file):
        raise source.error(
            "submission.host",
            "AUTH is needed here, so an API key and a certificate are",
            "`veredus init` makes a key; set tls_cert_file and tls_key_file; or listen on 127.0.0.1",
        )
    if config.stream(door.stream) is None:
        known = [*config.streams, *DEFAULT_STREAMS]
        mend = settings_text.did_you_mean(door.stream, known) or "add [streams.<name>]"
        raise source.error("submission.stream", f"there is no stream {door.stream!r}", mend)


def _check_delivery(config: Config, source: settings_text.Source) -> None:
    settings_checks.check_tls_reports(config, source)
    match config.delivery.mode:
        case "twin":
            return
        case "live":
            settings_checks.check_live(config, source)
        case "relay":
            settings_checks.check_relays(config, source)
    settings_checks.check_guards(config, source)
