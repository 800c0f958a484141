"""Which MTA-STS policy holds: nothing an attacker can do to DNS or HTTPS takes a policy away before its time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deliverability.policy.mta_sts import Mode, StsPolicy, StsRecord
from deliverability.policy.sts_cache import (
    Fetch,
    KeptPolicy,
    NoPolicy,
    Use,
    choose,
    fetched,
    mx_allowed,
)
from deliverability.policy.tags import Mistake

POLICY = StsPolicy(Mode.ENFORCE, ("mx.shop.example",), 86_400)
NEWER = StsPolicy(Mode.TESTING, ("*.other.example",), 86_400)
KEPT = KeptPolicy(POLICY, "one", 1_000)
END = 1_000 + 86_400_000


def test_the_table() -> None:
    """Each row of the module's table."""
    one, two = StsRecord("one"), StsRecord("two")
    assert choose(KEPT, one, END - 1) == Use(POLICY)
    assert choose(KEPT, one, END) == Fetch("one")
    assert choose(KEPT, two, 2_000) == Fetch("two")
    assert choose(KeptPolicy(), one, 2_000) == Fetch("one")
    assert choose(KEPT, None, END - 1) == Use(POLICY, "no MTA-STS record")
    assert choose(KEPT, Mistake("x"), END - 1) == Use(POLICY, "the MTA-STS record can't be read")
    assert choose(KEPT, None, END) == NoPolicy("no MTA-STS record")
    assert choose(KeptPolicy(), None, 0) == NoPolicy("no MTA-STS record")


def test_a_failed_fetch_waits_and_keeps_what_is_known() -> None:
    """RFC 8461 §3.3: five minutes; another id doesn't wait."""
    failed = fetched(KEPT, "two", Mistake("404"), 10_000)
    assert choose(failed, StsRecord("two"), 309_999) == Use(POLICY, "404")
    assert choose(failed, StsRecord("two"), 310_000) == Fetch("two")
    assert choose(failed, StsRecord("three"), 10_001) == Fetch("three")
    assert choose(fetched(failed, "two", NEWER, 20_000), StsRecord("two"), 20_001) == Use(NEWER)
    nothing = fetched(KeptPolicy(), "one", Mistake("404"), 10_000)
    assert choose(nothing, StsRecord("one"), 10_001) == NoPolicy("404")


def test_only_enforce_forbids_a_host() -> None:
    """§5: testing and none let mail through."""
    assert mx_allowed(Use(POLICY), "mx.shop.example")
    assert not mx_allowed(Use(POLICY), "evil.example")
    assert mx_allowed(Use(NEWER), "evil.example")
    assert mx_allowed(NoPolicy("none"), "evil.example")


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20_000_000),
            st.one_of(
                st.none(), st.just(Mistake("x")), st.builds(StsRecord, st.sampled_from("ab"))
            ),
        ),
        max_size=20,
    )
)
def test_a_fresh_policy_is_never_lost(steps: list[tuple[int, StsRecord | Mistake | None]]) -> None:
    """Whatever DNS says while every fetch fails, the policy holds to its last millisecond."""
    kept, now = KEPT, 1_000
    for later, record in steps:
        now += later
        choice = choose(kept, record, now)
        if isinstance(choice, Fetch):
            kept = fetched(kept, choice.policy_id, Mistake("down"), now)
            choice = choose(kept, record, now)
        assert not isinstance(choice, Fetch)
        assert isinstance(choice, Use) is (now < END)
