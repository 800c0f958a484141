"""TLS by destination, over real sockets: opportunistic, required, verified, MTA-STS, DANE; broken TLS is remembered."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deliverability.policy.mta_sts import Mode, StsPolicy
from deliverability.policy.sts_cache import KeptPolicy
from deliverability.transport.sts_files import StsFiles
from tests.integration.mail_world import Authority, World, in_world

ZONE = """
["a.test"]
MX = ["10 mx1.a.test", "20 mx2.a.test"]
["b.test"]
MX = ["10 mx1.a.test", "20 mx2.a.test"]
["_mta-sts.a.test"]
TXT = ["v=STSv1; id=1"]
["mx1.a.test"]
A = ["127.0.0.11"]
["mx2.a.test"]
A = ["127.0.0.12"]
"""
ALONE = ZONE.replace(', "20 mx2.a.test"', "")
ENFORCED = '[delivery.destinations."a.test"]\ntls = "{}"'

Main = Callable[[World], Coroutine[Any, Any, None]]


def _old_tls() -> ssl.SSLContext:
    """A server that our contexts don't understand: it has no certificate at all."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _keep(folder: Path, mode: Mode, *patterns: str) -> None:
    policy = StsPolicy(mode, patterns, 86_400)
    StsFiles(folder / "mta_sts").put("a.test", KeptPolicy(policy, "1", 1 << 42))


def test_opportunistic_takes_any_certificate_and_none(tmp_path: Path) -> None:
    """Encrypted where offered, whoever signed it; in clear where it isn't offered."""
    context, _ = Authority(tmp_path).context("somebody.else.test", expired=True)

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert got["x@a.test"].kind == "delivered"
        assert [peer.tls for peer in world.hosts[11].peers] == [True]

    in_world(main, tmp_path, ALONE, {11: context})

    async def clear(world: World) -> None:
        await world.office.send("x@a.test")
        assert [peer.tls for peer in world.hosts[11].peers] == [False]

    in_world(clear, tmp_path, ALONE, {11: None})


def test_broken_tls_is_remembered_and_mail_goes_in_clear(tmp_path: Path) -> None:
    """One failed handshake, then none for a while; only where TLS is opportunistic."""

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test", "y@a.test")
        assert {one.kind for one in got.values()} == {"delivered"}
        assert not any(peer.tls for peer in world.hosts[11].peers)

    in_world(main, tmp_path, ALONE, {11: _old_tls()})


@pytest.mark.parametrize("level", ["required", "verified"])
def test_what_must_be_encrypted_isnt_sent_in_clear(level: str, tmp_path: Path) -> None:
    """A server without STARTTLS, and one whose TLS is broken, get nothing."""

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert got["x@a.test"].kind == "deferred"
        assert not world.hosts[11].taken
        assert not world.office.marks.begun

    for context in (None, _old_tls()):
        in_world(main, tmp_path, ALONE, {11: context}, more=ENFORCED.format(level))


@pytest.mark.parametrize(
    ("host", "expired", "trusted", "kind"),
    [
        ("mx1.a.test", False, True, "delivered"),
        ("mx1.a.test", True, True, "deferred"),
        ("other.test", False, True, "deferred"),
        ("mx1.a.test", False, False, "deferred"),
    ],
)
def test_verified_checks_name_date_and_authority(
    host: str, expired: bool, trusted: bool, kind: str, tmp_path: Path
) -> None:
    """Each of the three alone is enough to hold the mail."""
    authority = Authority(tmp_path)
    context, _ = authority.context(host, expired=expired)
    tls = f'ca_file = "{authority.file}"' if trusted else ""

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert got["x@a.test"].kind == kind
        assert bool(world.hosts[11].taken) == (kind == "delivered")

    in_world(main, tmp_path, ALONE, {11: context}, tls=tls, more=ENFORCED.format("verified"))


def test_an_enforced_policy_chooses_hosts_and_checks_them(tmp_path: Path) -> None:
    """MTA-STS: mx1 isn't in the policy, mx2 is and has a good certificate; b.test has no policy and goes to mx1."""
    authority = Authority(tmp_path)
    first, _ = authority.context("mx1.a.test")
    second, _ = authority.context("mx2.a.test")
    _keep(tmp_path, Mode.ENFORCE, "mx2.a.test")

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test", "y@b.test")
        assert got["x@a.test"].host == "mx2.a.test"
        assert got["y@b.test"].host == "mx1.a.test"
        routes = sorted(world.office.delivery.routes)
        assert routes[0] == "default/(mx1|mx2).a.test"
        assert routes[1].startswith("default/(mx1|mx2).a.test~"), (
            "never over the other's connections"
        )

    in_world(main, tmp_path, ZONE, {11: first, 12: second}, tls=f'ca_file = "{authority.file}"')


def test_an_enforced_policy_holds_mail_that_nobody_may_take(tmp_path: Path) -> None:
    """No host fits the policy: for now, since policies change. RFC 8461 §5."""
    _keep(tmp_path, Mode.ENFORCE, "*.elsewhere.test")

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert (got["x@a.test"].kind, got["x@a.test"].enhanced) == ("deferred", "4.7.5")

    in_world(main, tmp_path, ZONE, {11: None, 12: None})


def test_a_policy_in_testing_reports_and_delivers(tmp_path: Path) -> None:
    """Encrypted all the same, though the certificate would fail."""
    context, _ = Authority(tmp_path).context("mx1.a.test")
    _keep(tmp_path, Mode.TESTING, "mx1.a.test")

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert got["x@a.test"].kind == "delivered"
        assert [peer.tls for peer in world.hosts[11].peers] == [True]

    in_world(main, tmp_path, ALONE, {11: context})


def _spki(certificate: x509.Certificate) -> str:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


def _with_tlsa(*records: str) -> str:
    listed = ", ".join(f'"{record}"' for record in records)
    return f'{ALONE}\n["_@PORT@._tcp.mx1.a.test"]\nTLSA = [{listed}]\n'


def _dane(folder: Path, zone: str, context: ssl.SSLContext | None, kind: str) -> None:
    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert got["x@a.test"].kind == kind, got["x@a.test"]
        assert bool(world.hosts[11].taken) == (kind == "delivered")
        assert all(peer.tls for peer in world.hosts[11].peers)

    in_world(main, folder, zone, {11: context}, secure=True)


def test_dane_ee_fits_the_key_whatever_the_certificate_says(tmp_path: Path) -> None:
    """Names and dates don't matter with usage 3. RFC 7672 §3.1.1."""
    context, made = Authority(tmp_path).context("wrong.name.test", expired=True)
    _dane(tmp_path, _with_tlsa(f"3 1 1 {_spki(made)}"), context, "delivered")


def test_dane_that_doesnt_fit_holds_the_mail(tmp_path: Path) -> None:
    """Also where the certificate is one that browsers would like, and where there is no TLS at all."""
    context, _ = Authority(tmp_path).context("mx1.a.test")
    _dane(tmp_path, _with_tlsa("3 1 1 " + "ab" * 32), context, "deferred")
    _dane(tmp_path, _with_tlsa("3 1 1 " + "ab" * 32), None, "deferred")


def test_dane_ta_checks_the_chain_and_the_name(tmp_path: Path) -> None:
    """Usage 2 names the authority. RFC 7672 §3.1.2."""
    authority = Authority(tmp_path)
    zone = _with_tlsa(f"2 1 1 {_spki(authority.certificate)}")
    _dane(tmp_path, zone, authority.context("mx1.a.test")[0], "delivered")
    _dane(tmp_path, zone, authority.context("other.test")[0], "deferred")
    _dane(tmp_path, zone, authority.context("mx1.a.test", expired=True)[0], "deferred")


def test_unusable_records_ask_for_tls_of_any_kind(tmp_path: Path) -> None:
    """Usages 0 and 1 aren't used in SMTP, but say that there is TLS. RFC 7672 §2.2."""
    context, _ = Authority(tmp_path).context("other.test")
    zone = _with_tlsa("1 1 1 " + "ab" * 32)
    _dane(tmp_path, zone, context, "delivered")
    _dane(tmp_path, zone, None, "deferred")


def test_tlsa_that_cant_be_looked_up_holds_the_mail(tmp_path: Path) -> None:
    """Fail closed: an attacker who only breaks DNS gains nothing."""
    zone = f'{ALONE}\n["_@PORT@._tcp.mx1.a.test"]\nfail = "servfail"\n'
    _dane(tmp_path, zone, None, "deferred")


def test_without_a_validating_resolver_there_is_no_dane(tmp_path: Path) -> None:
    """Records that nobody validated mean nothing, for or against."""

    async def main(world: World) -> None:
        got = await world.office.send("x@a.test")
        assert got["x@a.test"].kind == "delivered"

    in_world(main, tmp_path, _with_tlsa("3 1 1 " + "ab" * 32), {11: None})
