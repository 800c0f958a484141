"""The controller: it knows each life, counts restarts, forgets nothing when it dies, and brings new catalogs round."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.cluster.controller import Controller, Publish, Registration
from engine.errors import StoreError


class Fleet:
    """Workers that remember how often they were told to look for a catalog."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def publish_of(self, name: str, version: int | None) -> Publish:
        async def publish() -> int:
            self.told.append(name)
            if version is None:
                raise ConnectionError("it is dead")
            return version

        return publish


def registered(controller: Controller, fleet: Fleet | None = None) -> None:
    fleet = fleet or Fleet()
    for index in range(2):
        one = Registration("state", index, 100 + index, 1000 + index)
        controller.register(one, fleet.publish_of(one.name, 7))
    sender = Registration("egress", 0, 200, 2000)
    controller.register(sender, fleet.publish_of("e0", None))


def test_routing_names_the_owner_of_each_partition_and_who_sends_for_it(tmp_path: Path) -> None:
    controller = Controller(tmp_path, 1, partitions=4, owners=2, senders=1)
    registered(controller)
    routing = controller.routing()
    assert [routing.owner_of(number) for number in range(4)] == ["w0", "w1", "w0", "w1"]
    assert routing.egress == ["e0", "e0"]


def test_a_new_life_is_a_restart_and_a_newer_routing_and_a_repeated_word_is_neither(
    tmp_path: Path,
) -> None:
    controller = Controller(tmp_path, 1, 4, 2, 1)
    registered(controller)
    before = controller.routing().version
    registered(controller)
    assert before == controller.routing().version
    for incarnation in (201, 202):
        life = Registration("egress", 0, incarnation, 3000, in_the_air=5, concluded=2)
        controller.register(life, Fleet().publish_of("e0", 1))
    (sender,) = [one for one in controller.view().members if one.role == "egress"]
    assert (
        sender.restarts,
        sender.in_the_air,
        sender.concluded,
        sender.incarnation,
    ) == (2, 10, 4, 202)
    assert controller.routing().version == before + 2


def test_a_controller_that_died_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Controller(tmp_path, 1, 4, 2, 1)
    registered(first)
    first.register(Registration("state", 0, 500, 1), Fleet().publish_of("w0", 1))
    again = Controller(tmp_path, 1, 4, 2, 1)
    assert first.view() == again.view()


def test_another_run_counts_anew_but_its_routing_is_newer(tmp_path: Path) -> None:
    first = Controller(tmp_path, 1, 4, 2, 1)
    registered(first)
    other = Controller(tmp_path, 2, 4, 2, 1)
    assert other.view().members == []
    assert other.routing().version > first.routing().version


def test_a_catalog_is_brought_to_all_that_can_be_reached(tmp_path: Path) -> None:
    controller, fleet = Controller(tmp_path, 1, 4, 2, 1), Fleet()
    registered(controller, fleet)
    used = asyncio.run(controller.publish(7))
    assert used == {"w0": 7, "w1": 7}
    assert sorted(fleet.told) == ["e0", "w0", "w1"]
    view = controller.view()
    assert {one.name: one.catalog for one in view.members} == {"e0": 0, "w0": 7, "w1": 7}
    assert view.catalog == 7


def test_what_was_written_and_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "controller.json").write_text("{")
    with pytest.raises(StoreError, match=r"controller\.json"):
        Controller(tmp_path, 1, 4, 2, 1)
