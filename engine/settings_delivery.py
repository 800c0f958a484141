"""Sections of the configuration about delivery: retries, time-outs, limits, streams, where mail may go."""

from __future__ import annotations

__all__ = (
    "DEFAULT_LIMITS",
    "DEFAULT_RETRY",
    "DEFAULT_STREAMS",
    "Delivery",
    "DkimKey",
    "Limits",
    "RetryCurve",
    "Stream",
    "Timeouts",
)

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.settings_routes import Breaker, Destination, Dns, Relay, Tls
from engine.settings_types import Domain as _Domain
from engine.settings_types import File as _File
from engine.settings_types import Name as _Name
from engine.settings_types import Network as _Network
from engine.settings_types import Recipient as _Recipient


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `settings_types.Section`; of its own here, where the linter sees that defaults are copied."""


class DkimKey(_Section, frozen=True, kw_only=True):
    """One DKIM key of a tenant. Several for one domain sign a message several times. RFC 6376 §3.6.

    Files are watched: what changes signs within seconds, without a restart.
    """

    domain: Annotated[_Domain, Meta(description="the d= of the signature")]
    selector: Annotated[
        str,
        Meta(
            pattern=r"^([a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)?$(?!\n)",
            max_length=253,
            description="the s= of the signature; with `key_dir` the files' names say it",
        ),
    ] = ""
    key_file: Annotated[_File, Meta(description="PEM, RSA or Ed25519")] = ""
    key_dir: Annotated[
        _File,
        Meta(
            description="in place of `key_file`: a folder of SELECTOR.pem; the newest signs that DNS shows"
        ),
    ] = ""
    key_env: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$(?!\n)",
            description="in place of `key_file`: the environment variable that holds the PEM",
        ),
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
