"""Each example of docs/scenarios.md is lived through: a contact, its events, its mail, to the end of its journey."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.vocabulary import CALLS, CallAnswered, ContactPut, Event, OutcomeNotice
from scenarios.checking import load
from scenarios.coupons import CodeGiven, NoCode, TakeCode
from scenarios.products import ProductList
from scenarios.runs import EnterJourney
from scenarios.state import Contact
from tests.scenarios.test_docs import EXAMPLES
from tests.scenarios.world import World

HOUR = 3_600_000
DAY = 24 * HOUR
BY_NAME = {load(text).name: text for text in EXAMPLES}


def lived(name: str, **attributes: object) -> World:
    """Publish an example, and let Ann be there."""
    world = World(BY_NAME[name])
    world.catalog.segment("big-spenders", "contact.big == true")
    world.give("ann", ContactPut({"email": "ann@example.com", **attributes}))
    return world


def sent(world: World) -> list[tuple[int, str]]:
    return [(at, send.step) for at, _, _, send in world.sent]


def ends(world: World) -> list[str]:
    return [str(one["reason"]) for one in world.facts("journey_ended")]


def ann(world: World) -> Contact:
    return world.contact("ann")


def onboarding() -> None:
    world = lived("onboarding")
    world.give("ann", Event("order.placed", 0))
    world.give("ann", Event("order.placed", 0))  # not its first: no second journey
    world.drain()
    assert sent(world) == [(0, "welcome-1"), (7 * DAY, "welcome-2")]
    assert ends(world) == [""]


def cart() -> None:
    world = lived("cart")
    world.give("ann", Event("cart.updated", 0, {"cart": "small", "value": 1999}))
    world.give("ann", Event("cart.updated", 0, {"cart": "a", "value": 2000}))
    world.until(HOUR)
    world.give("ann", Event("cart.updated", 0, {"cart": "a", "value": 3000}))  # it begins anew
    world.give("ann", Event("cart.updated", 0, {"cart": "b", "value": 5000}))
    world.until(6 * HOUR)
    assert sent(world) == [(5 * HOUR, "reminder"), (5 * HOUR, "reminder")]
    world.give("ann", Event("order.placed", 0, {"cart": "b"}))
    world.drain()
    # "a" waits two days for a click; 2 January 1970, 05:00, was a Friday: so Monday, 09:00
    assert sent(world)[2:] == [(4 * DAY + 9 * HOUR, "discount")]
    assert sorted(ends(world)) == ["", "goal:order.placed", "restarted"]


def cart_clicked() -> None:
    world = lived("cart")
    world.give("ann", Event("cart.updated", 0, {"cart": "a", "value": 2000}))
    world.until(5 * HOUR)
    world.give("ann", Event("mail.clicked", 0))
    assert set(ann(world).tags) == {"shopper"}
    world.drain()
    assert (sent(world), ends(world)) == ([(4 * HOUR, "reminder")], [""])


def renewal() -> None:
    world = lived("renewal", renewal="1970-03-02", plan="pro", timezone="America/New_York")
    world.give("ann", Event("subscription.started", 0))
    world.drain()
    [(at, step)] = sent(world) or [(30 * DAY + 14 * HOUR, "holdout")]
    assert (at, step) == (30 * DAY + 14 * HOUR, step)  # 31 January, 09:00 in New York
    assert step == {"plain": "plain-mail", "value": "value-mail"}.get(drawn(world), "holdout")


def drawn(world: World) -> str:
    [found] = [str(one["variant"]) for one in world.facts("variant_drawn")]
    return found


def renewal_cancelled() -> None:
    world = lived("renewal", renewal="1970-03-02", plan="pro")
    world.give("ann", Event("subscription.started", 0))
    world.give("ann", ContactPut({"plan": "none"}))
    world.drain()
    assert (sent(world), ends(world)) == ([], ["exit:cancelled"])


def after_care() -> None:
    world = lived("after-care")
    for _ in range(2):
        world.give("ann", Event("order.shipped", 0, {"products": ["a", "b"]}))
        world.drain()
    assert sent(world) == [(2 * DAY, "tip"), (4 * DAY, "tip"), (6 * DAY, "tip"), (8 * DAY, "tip")]
    told = [one.channel for one in world.emitted if one.channel.startswith("notify.")]
    # 5 points at 4 days have lost some by 8 days, so that the second time isn't warm
    assert told == []
    assert ann(world).attributes["stage"] == "cared-for"
    assert ann(world).attributes["orders"] == 2


def spring_mail() -> None:
    world = lived("spring-mail")
    world.give("ann", Event("spring.began", 0))
    steps = {"plain": ["plain-mail"], "picture": ["picture-mail"], "nothing": []}
    assert [step for _, step in sent(world)] == steps[drawn(world)]
    world.give("ann", Event("order.placed", 0))
    news = [one.body["what"] for one in world.emitted if one.channel == "experiment"]
    assert news == ["assigned", "converted"]


def vip() -> None:
    world = lived("vip")
    for _ in range(6):
        world.give("ann", Event("order.placed", 0))
    assert sent(world) == [(0, "thanks")]
    assert set(ann(world).tags) == {"vip"}


def birthday() -> None:
    world = lived("birthday", birthday="1990-02-01", timezone="Europe/Warsaw")
    world.until(60 * DAY)
    assert sent(world) == [(31 * DAY + 8 * HOUR, "wish")]  # 09:00 in Warsaw
    world.give("ann", ContactPut({"big": True}))
    world.give("ann", EnterJourney("birthday", "api"))
    world.give("ann", EnterJourney("birthday", "list"))
    world.give("ann", EnterJourney("birthday", "schedule", segment="big-spenders"))
    assert len(sent(world)) == 5


def hand_over() -> None:
    answers: list[tuple[int, dict[str, str], str, list[str]]] = [
        (200, {"owner": "eva"}, "", ["introduction"]),
        (204, {}, "", []),
        (422, {}, "by-hand", []),
        (0, {}, "by-hand", []),  # none comes
    ]
    for status, fields, wanted, steps in answers:
        world = lived("hand-over")
        world.give("ann", Event("demo.requested", 0, {"plan": "pro"}))
        [call] = [one.body for one in world.emitted if one.channel == CALLS]
        assert call.data == {"email": "ann@example.com", "plan": "pro", "from": "web"}
        if status:
            journey, taken = bytes.fromhex(call.journey), status < 300
            world.give("ann", CallAnswered(journey, "to-sales", 1, taken, status, fields))
        world.drain()
        assert ends(world) == [wanted]
        assert [step for _, step in sent(world)] == steps


def spring_code() -> None:
    for has in (True, False):
        world = lived("spring-code")
        world.give("ann", Event("spring.began", 0))
        [ask] = [one.body for one in world.told if isinstance(one.body, TakeCode)]
        place = (ask.journey, ask.step, ask.visit, "spring")
        world.give("ann", CodeGiven(*place, "GREEN") if has else NoCode(*place, "empty"))
        assert ends(world) == ["" if has else "no-code"]
        codes = [one.caught["coupon"] for one in ann(world).sends.values()]
        assert codes == (["GREEN"] if has else [])


def weekly_tip() -> None:
    for reads, wanted in ((True, 8), (False, 3)):
        world = lived("weekly-tip")
        world.give("ann", Event("tips.wanted", 0))
        for week in range(1, 9):
            world.until(week * 7 * DAY)
            for message_id in list(ann(world).sends):
                world.give("ann", OutcomeNotice(message_id, "delivered", 1, world.now, True))
                if reads:
                    opened = {"message_id": message_id.hex(), "by": "person"}
                    world.give("ann", Event("mail.opened", 0, opened))
        world.drain()
        assert len(sent(world)) == wanted
        assert ends(world) == (["exit:cold"] if not reads else [""])


def looked_at() -> None:
    for stock, instead, wanted in ((3, 0, True), (0, 0, False), (0, 1, True)):
        world = lived("looked-at")
        rows = {key: {"sku": key, "stock": n} for key, n in (("LP-9", stock), ("LP-1", instead))}
        world.catalog.put("products", "shop", ProductList("sku", ("sku", "stock"), rows))
        world.give("ann", Event("product.viewed", 0, {"product": "LP-9", "other": "LP-8"}))
        world.drain()
        assert sent(world) == ([(4 * HOUR, "mail")] if wanted else [])
        assert ends(world) == [""]
    world = lived("looked-at")  # no list at all
    world.give("ann", Event("product.viewed", 0, {"product": "LP-9", "other": "LP-8"}))
    world.drain()
    assert ends(world) == ["nothing to show"]


STORIES: dict[str, list[Callable[[], None]]] = {
    "onboarding": [onboarding],
    "cart": [cart, cart_clicked],
    "renewal": [renewal, renewal_cancelled],
    "after-care": [after_care],
    "spring-mail": [spring_mail],
    "hand-over": [hand_over],
    "spring-code": [spring_code],
    "looked-at": [looked_at],
    "weekly-tip": [weekly_tip],
    "vip": [vip],
    "birthday": [birthday],
}


def test_every_example_is_lived_through() -> None:
    assert set(STORIES) == set(BY_NAME)


@pytest.mark.parametrize("story", [one for stories in STORIES.values() for one in stories])
def test_an_example_goes_as_the_page_says(story: Callable[[], None]) -> None:
    story()
