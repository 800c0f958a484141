"""Segments counted anew over a snapshot, in another process, while the owner goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from scenarios.recount import SegmentRecount
from scenarios.segments import compile_segment, load_segment
from scenarios.state import Contact, Membership, Points
from tests.actors.planning.town import town

DAY = 86_400_000


def test_a_recount_agrees_with_what_was_kept_and_shows_what_time_has_changed(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with town(tmp_path) as place:
            desk = place.keeper.versions
            await place.people([f"c{n}" for n in range(50)], customer=True)
            await place.people([f"o{n}" for n in range(30)], customer=False)
            for text in (
                "segment: customers\nwhen: contact.customer == true\n",
                "segment: active\nwhen: contact.count('order', '2d') >= 1\n",
            ):
                run = desk.publish_segment("default", text, "s", place.author())
                assert run is not None
                await place.done(run.id)
            await place.events([f"o{n}" for n in range(10)], "order", "1")
            done = await place.keeper.recount("default")
            told = {one.name: (one.holds, one.stored, one.differ) for one in done.segments}
            assert (done.contacts, told) == (80, {"active": (10, 10, 0), "customers": (50, 50, 0)})
            place.later(3 * DAY)
            await place.people(["new"], customer=True)  # the owner goes on
            done = await place.keeper.recount("default")
            told = {one.name: (one.holds, one.stored, one.differ) for one in done.segments}
            assert told == {"active": (0, 10, 10), "customers": (51, 51, 0)}
            refresh = desk.refresh_segments("default", place.author())
            await place.done(refresh.id)
            await place.until(lambda: place.keeper.counting.segment("default", "active") == 0)
            assert place.keeper.counting.segment("default", "customers") == 51
            done = await place.keeper.recount("default")
            assert [one.differ for one in done.segments] == [0, 0]

    asyncio.run(story())


def test_only_what_the_conditions_look_at_is_decoded() -> None:
    import msgspec

    segments = [
        compile_segment(load_segment(f"segment: s{number}\nwhen: {when}\n"))
        for number, when in enumerate(
            ["contact.score('a') > 1.0", "contact.tagged('x')", "contact.count('e') == 2"]
        )
    ]
    contacts = [
        Contact({"a": 1}, scores={"a": Points(2.0, 0)}, tags={"x": 1}, counts={"e": 2}),
        Contact(erased_at=5, tags={"x": 1}),
        Contact(segments={"s1": Membership(1)}),
    ]
    recount = SegmentRecount(segments, 10)
    for contact in contacts:
        recount.take(msgspec.msgpack.encode(contact))
    assert recount.contacts == 2
    assert [(one.holds, one.stored, one.differ) for one in recount.results()] == [
        (1, 0, 1),
        (1, 1, 2),
        (1, 0, 1),
    ]
