"""What keys of the configuration demand of each other. Each raises `ConfigError` with file, line and key."""

from __future__ import annotations

__all__ = (
    "check_delivery",
    "check_http",
    "check_store",
    "check_submission",
    "check_tenants",
)

from typing import TYPE_CHECKING

from engine import settings_checks, settings_text
from engine.settings_delivery import DEFAULT_STREAMS

if TYPE_CHECKING:
    from engine.config import Config, Endpoint, Tenant, Webhook
    from engine.settings_delivery import DkimKey
    from engine.settings_text import Source as Text


def check_store(config: Config, text: Text) -> None:
    """Partitions are a power of two; what Redis needs goes together."""
    partitions = config.store.partitions
    if partitions & (partitions - 1):
        raise text.error("store.partitions", f"must be a power of two, not {partitions}")
    redis = config.store.redis
    if redis.topology == "cluster" and redis.database:
        raise text.error("store.redis.database", "a Redis Cluster has only database 0")
    if bool(redis.cert_file) != bool(redis.key_file):
        present, absent = ("cert", "key") if redis.cert_file else ("key", "cert")
        raise text.error(
            f"store.redis.{present}_file", f"without store.redis.{absent}_file it can't be used"
        )


def check_tenants(config: Config, text: Text) -> None:
    """Names, keys, From domains, webhooks and streams fit each other."""
    _check_keys(config.delivery.dkim, "delivery.dkim", text)
    names: dict[str, int] = {}
    hashes: dict[str, str] = dict.fromkeys(config.http.operator_key_hashes, "the operator")
    for index, tenant in enumerate(config.tenant):
        path = f"tenant[{index}]"
        if tenant.name in names:
            raise text.error(f"{path}.name", f"two tenants are named {tenant.name!r}")
        names[tenant.name] = index
        for key in tenant.api_key_hashes:
            if key in hashes:
                raise text.error(
                    f"{path}.api_key_hashes", f"this API key belongs to {hashes[key]} already"
                )
            hashes[key] = f"tenant {tenant.name!r}"
        _check_from(tenant, path, text)
        _check_webhook(tenant.webhook, f"{path}.webhook", text)
        for name, endpoint in tenant.endpoint.items():
            _check_webhook(endpoint, f"{path}.endpoint.{name}", text)
        if config.stream(tenant.stream) is None:
            known = [*config.streams, *DEFAULT_STREAMS]
            mend = settings_text.did_you_mean(tenant.stream, known) or "add [streams.<name>]"
            raise text.error(f"{path}.stream", f"there is no stream {tenant.stream!r}", mend)


def _check_from(tenant: Tenant, path: str, text: Text) -> None:
    domain = tenant.from_address.rpartition("@")[2].lower()
    if domain and domain not in tenant.from_domains:
        raise text.error(
            f"{path}.from_address",
            f"its domain {domain!r} isn't among from_domains",
            "add it there",
        )
    _check_keys(tenant.dkim, f"{path}.dkim", text)
    for number, key in enumerate(tenant.dkim):
        covers = any(d == key.domain or d.endswith(f".{key.domain}") for d in tenant.from_domains)
        if not covers:
            raise text.error(
                f"{path}.dkim[{number}].domain",
                f"{key.domain!r} signs for none of from_domains",
                "DKIM aligns with the From domain or a parent of it",
            )


def _check_keys(keys: tuple[DkimKey, ...], path: str, text: Text) -> None:
    for number, key in enumerate(keys):
        given = [name for name in ("key_file", "key_env", "key_dir") if getattr(key, name)]
        if len(given) != 1:
            raise text.error(
                f"{path}[{number}].key_file",
                "a key comes from a file, a folder or the environment",
                "give one of key_file, key_dir and key_env",
            )
        if bool(key.selector) == bool(key.key_dir):
            raise text.error(
                f"{path}[{number}].selector",
                "the names of the files in key_dir are the selectors"
                if key.key_dir
                else "a key needs the selector that its record stands under",
                "leave it out" if key.key_dir else "give selector",
            )


def _check_webhook(webhook: Webhook | Endpoint, path: str, text: Text) -> None:
    if not webhook.url:
        return
    if not webhook.secret_file:
        raise text.error(
            f"{path}.secret_file",
            "a webhook needs a secret to sign with",
            "`veredus webhook secret --out FILE` makes one",
        )
    host = webhook.url.partition("://")[2].partition("/")[0]
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if webhook.url.startswith("http://") and not settings_text.is_loopback(name):
        raise text.error(f"{path}.url", "outside this machine it must be https")


def check_http(config: Config, text: Text) -> None:
    """A certificate has its key; outside this machine an API key is needed."""
    http = config.http
    if bool(http.tls_cert_file) != bool(http.tls_key_file):
        present, absent = ("cert", "key") if http.tls_cert_file else ("key", "cert")
        raise text.error(
            f"http.tls_{present}_file",
            f"without http.tls_{absent}_file it can't be used",
            "set both",
        )
    keyed = http.operator_key_hashes or any(tenant.api_key_hashes for tenant in config.tenant)
    if not settings_text.is_loopback(http.host) and not keyed:
        raise text.error(
            "http.host",
            f"listening on {http.host!r} needs an API key",
            "`veredus init` makes one; or listen on 127.0.0.1",
        )
    if http.in_flight_bytes_max < http.body_bytes_max:
        raise text.error("http.in_flight_bytes_max", "is smaller than http.body_bytes_max")


def check_submission(config: Config, text: Text) -> None:
    """Where AUTH is needed there are a key and a certificate."""
    door = config.submission
    if bool(door.tls_cert_file) != bool(door.tls_key_file):
        present, absent = ("cert", "key") if door.tls_cert_file else ("key", "cert")
        raise text.error(
            f"submission.tls_{present}_file",
            f"without submission.tls_{absent}_file it can't be used",
            "set both",
        )
    if door.tls_port and not door.tls_cert_file:
        raise text.error("submission.tls_port", "needs a certificate", "set tls_cert_file")
    keyed = any(tenant.api_key_hashes for tenant in config.tenant)
    opened = door.port or door.tls_port
    must = not settings_text.is_loopback(door.host) or door.require_auth == "always"
    if opened and must and not (keyed and door.tls_cert_file):
        raise text.error(
            "submission.host",
            "AUTH is needed here, so an API key and a certificate are",
            "`veredus init` makes a key; set tls_cert_file and tls_key_file; or listen on 127.0.0.1",
        )
    if config.stream(door.stream) is None:
        known = [*config.streams, *DEFAULT_STREAMS]
        mend = settings_text.did_you_mean(door.stream, known) or "add [streams.<name>]"
        raise text.error("submission.stream", f"there is no stream {door.stream!r}", mend)


def check_delivery(config: Config, text: Text) -> None:
    """Nothing leaves by accident, whatever the mode."""
    settings_checks.check_tls_reports(config, text)
    match config.delivery.mode:
        case "twin":
            return
        case "live":
            settings_checks.check_live(config, text)
        case "relay":
            settings_checks.check_relays(config, text)
    settings_checks.check_guards(config, text)
