"""The suppression list as the edge sees it: bounds of who asks, records, hashes, roles."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from actors.suppression.desk import open_desk
from actors.suppression.service import Listing, ServiceSettings, Suppressions
from actors.suppression.wire import Addition, Removal
from engine.errors import InputError, RefusedError
from engine.store.control_file import ControlFile

NOW = 1_700_000_000_000


@pytest.fixture
def made(tmp_path: Path) -> Suppressions:
    numbers = count()
    return Suppressions(
        open_desk(tmp_path, "memory"),
        tmp_path / "control.log",
        lambda: NOW,
        lambda: f"{next(numbers)}",
    )


def add(one: Suppressions, *items: Addition, tenant: str | None = None) -> None:
    one.add(items, default_tenant="shop", tenant=tenant, actor="test", reason="because")


def test_a_tenant_touches_only_its_own_scopes(made: Suppressions) -> None:
    """Its key may neither add to another's scope or the operator's, nor take off or see what is there."""
    add(made, Addition(address="a@x.example", scope="operator"))
    add(made, Addition(address="a@x.example"), tenant="shop")
    for scope in ("operator", "tenant/other", "stream/other/marketing"):
        with pytest.raises(RefusedError, match="isn't yours"):
            add(made, Addition(address="b@x.example", scope=scope), tenant="shop")
    made.remove([Removal(address="a@x.example")], tenant="shop", actor="t", reason="")
    left = made.page(Listing(), None)
    assert [entry.scope for entry in left.items] == ["operator"]
    assert made.page(Listing(), "shop").items == []


def test_a_mistake_names_its_item_and_takes_nothing(made: Suppressions) -> None:
    """All or none, and where."""
    with pytest.raises(InputError, match=r"items\[1\]"):
        add(made, Addition(address="a@x.example"), Addition(address="no address"))
    with pytest.raises(InputError, match="no reason"):
        add(made, Addition(address="a@x.example", reason="dislike"))
    assert made.page(Listing(), None).items == []


def test_roles_hold_for_every_domain_within_their_scope(made: Suppressions) -> None:
    """abuse@ anywhere is suppressed for marketing, and not for the tenant's other mail."""
    scope = "stream/shop/marketing"
    made.add_roles(scope, default_tenant="shop", tenant=None, actor="t", reason="")
    assert made.check("Abuse@any.example", "shop", "marketing").suppressed
    assert not made.check("abuse@any.example", "shop", "transactional").suppressed
    assert not made.check("anna@any.example", "shop", "marketing").suppressed


def test_the_record_has_no_address(made: Suppressions, tmp_path: Path) -> None:
    """Who, what, how many, why; never whom."""
    made.add(
        [Addition(address="ann@x.example", evidence="said so to bob@shop.example")],
        default_tenant="shop",
        tenant=None,
        actor="test",
        reason="ann@x.example asked",
    )
    raw = (tmp_path / "control.log").read_bytes()
    assert b"x.example" not in raw
    assert b"shop.example" not in raw
    record = ControlFile(tmp_path / "control.log").records()[0]
    assert (
        record.change.action,
        record.change.subject,
        record.change.reason,
    ) == ("suppress", "suppression: 1 in tenant/shop", "(address) asked")
    assert made.page(Listing(), None).items[0].evidence == "said so to (address)"


def test_addresses_can_be_kept_as_hashes_alone(tmp_path: Path) -> None:
    """Without `keep_addresses` nothing on disk can be turned into an address; erasing forgets the sealed one."""
    hashed = Suppressions(
        open_desk(tmp_path, "memory"),
        tmp_path / "control.log",
        lambda: NOW,
        lambda: "1",
        ServiceSettings(keep_addresses=False),
    )
    add(hashed, Addition(address="ann@x.example"))
    assert hashed.page(Listing(), None).items[0].address == ""
    assert hashed.check("ann@x.example", "shop", whole=True).suppressed


def test_what_is_erased_stays_suppressed_by_its_hash(made: Suppressions) -> None:
    """The sealed address goes, the entry stays."""
    add(made, Addition(address="ann@x.example"))
    assert made.page(Listing(), None).items[0].address == "ann@x.example"
    made.forget("Ann@x.example")
    assert made.page(Listing(), None).items[0].address == ""
    assert made.check("ann@x.example", "shop", whole=True).suppressed


def test_a_new_consent_lifts_an_unsubscribe_and_nothing_else(made: Suppressions) -> None:
    """Who asks for mail again gets it, unless they complained."""
    said = {"source": "t", "evidence": "", "input_id": "1"}
    made.reported("ann@x.example", "topic/shop/news", "unsubscribe", **said)
    made.reported("bob@x.example", "topic/shop/news", "complaint", **said)
    for name in ("ann", "bob"):
        made.consented(f"{name}@x.example", ["topic/shop/news"])
    assert not made.check("ann@x.example", "shop", whole=True).suppressed
    assert made.check("bob@x.example", "shop", whole=True).suppressed
