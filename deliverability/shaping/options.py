"""The options that a section may set: KumoMTA's egress path options and ours, each with its kind.

*Honoured* options change what Veredus does. The others are accepted so that files load unchanged, and `check` says
that they have no effect here. KumoMTA docs/reference/kumo/make_egress_path.
"""

from __future__ import annotations

__all__ = ("OPTIONS", "Option", "OptionKind", "nearest_names", "parse_option")

import difflib
import enum
from collections.abc import Iterable

import msgspec

from deliverability.shaping.quantities import (
    parse_connection_limit,
    parse_duration_ms,
    parse_throttle,
)
from deliverability.shaping.rules import Duration, OptionValue
from engine.errors import InputError


class OptionKind(enum.Enum):
    """What the value of an option is."""

    THROTTLE = "a rate"
    CONNECTIONS = "a number of connections"
    COUNT = "a positive whole number"
    DURATION = "a duration"
    BOOLEAN = "true or false"
    TEXT = "a text"
    TEXTS = "a list of texts"
    TABLE = "a table of named limits"


class Option(msgspec.Struct, frozen=True):
    """One option: its kind, and whether Veredus acts on it."""

    name: str
    kind: OptionKind
    honoured: bool
    choices: tuple[str, ...] = ()


def _options(kind: OptionKind, names: str, *, honoured: bool) -> list[Option]:
    return [Option(name, kind, honoured) for name in names.split()]


_TLS = ("Opportunistic", "OpportunisticInsecure", "Required", "RequiredInsecure", "Disabled")

OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (
        *_options(
            OptionKind.THROTTLE,
            "max_message_rate provider_max_message_rate max_connection_rate max_byte_rate "
            "provider_max_byte_rate max_recipient_rate provider_max_recipient_rate "
            "source_selection_rate provider_source_selection_rate",
            honoured=True,
        ),
        *_options(
            OptionKind.CONNECTIONS, "connection_limit provider_connection_limit", honoured=True
        ),
        *_options(
            OptionKind.COUNT,
            "max_deliveries_per_connection max_recipients_per_batch "
            "consecutive_connection_failures_before_delay",
            honoured=True,
        ),
        *_options(OptionKind.COUNT, "max_ready readahead_limit", honoured=False),
        *_options(
            OptionKind.DURATION,
            "connect_timeout banner_timeout ehlo_timeout mail_from_timeout rcpt_to_timeout "
            "data_timeout data_dot_timeout rset_timeout starttls_timeout idle_timeout "
            "remember_broken_tls",
            honoured=True,
        ),
        *_options(
            OptionKind.DURATION,
            "refresh_interval system_shutdown_timeout dispatcher_progress_watchdog_timeout "
            "auth_timeout",
            honoured=False,
        ),
        *_options(
            OptionKind.BOOLEAN, "enable_mta_sts enable_dane enable_pipelining", honoured=True
        ),
        *_options(
            OptionKind.BOOLEAN,
            "enable_rset allow_smtp_auth_plain_without_tls try_next_host_on_transport_error "
            "opportunistic_tls_reconnect_on_failed_handshake use_lmtp tls_prefer_openssl "
            "ignore_8bit_checks aggressive_connection_opening",
            honoured=False,
        ),
        Option("enable_tls", OptionKind.TEXT, honoured=True, choices=_TLS),
        *_options(
            OptionKind.TEXT,
            "reconnect_strategy ip_lookup_strategy refresh_strategy ehlo_domain "
            "low_memory_reduction_policy no_memory_reduction_policy smtp_auth_plain_username "
            "smtp_auth_plain_password tls_certificate tls_private_key openssl_cipher_list "
            "openssl_cipher_suites openssl_options smtp_port readyq_pool_name",
            honoured=False,
        ),
        *_options(
            OptionKind.TEXTS,
            "prohibited_hosts skip_hosts rustls_cipher_suites",
            honoured=False,
        ),
        *_options(
            OptionKind.TABLE,
            "additional_connection_limits additional_message_rate_throttles "
            "additional_source_selection_rates",
            honoured=True,
        ),
    )
}


def nearest_names(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like this one, or an empty text."""
    found = difflib.get_close_matches(name[:80], list(known), n=1, cutoff=0.55)
    return found[0] if found else ""


def parse_option(name: str, value: object) -> OptionValue:
    """Read the value of a known option.

    Raises:
        InputError: the value isn't of the option's kind.
    """
    option = OPTIONS[name]
    match option.kind:
        case OptionKind.THROTTLE:
            return parse_throttle(value)
        case OptionKind.CONNECTIONS:
            return parse_connection_limit(value)
        case OptionKind.DURATION:
            return Duration(parse_duration_ms(value))
        case OptionKind.TABLE:
            return _named_limits(name, value)
        case OptionKind.TEXTS:
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return tuple((str(item), "") for item in value)
        case OptionKind.COUNT:
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
                return value
        case OptionKind.BOOLEAN:
            if isinstance(value, bool):
                return value
        case OptionKind.TEXT:
            if isinstance(value, str | int) and (not option.choices or value in option.choices):
                return str(value)
    choices = f", one of {', '.join(option.choices)}" if option.choices else ""
    raise InputError(f"{name} must be {option.kind.value}{choices}, got {value!r:.60}")


def _named_limits(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """Read a table of named limits, whose values are rates or numbers of connections."""
    if not isinstance(value, dict):
        raise InputError(f"{name} must be a table of named limits, got {value!r:.60}")
    parse = parse_connection_limit if name == "additional_connection_limits" else parse_throttle
    return tuple((str(key), str(parse(item))) for key, item in sorted(value.items()))
