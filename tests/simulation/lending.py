"""A partition that leaves a worker for a while and comes back, as one does that goes to another worker and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import StoreError

if TYPE_CHECKING:
    from tests.simulation.life import Life

AGAIN_MS = 100


class Lending:
    """The partitions of one life that are away. Between two ticks only, as `actors.worker.holding` does it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.away: set[int] = set()

    def lend(self, number: int) -> None:
        """Let go of a partition, if nothing of it is in anybody's hands and no outcome waits for it."""
        life = self._life
        host, partition_of = life.host, life.cluster.keyspace.partition
        busy = life.orphan or not life.readable or life.pending or life.inputs.answers
        mine = {partition_of(message_id) for message_id in life.egress.message_ids()}
        if (
            busy
            or number in mine
            or number not in host.partitions
            or host.partitions[number].held()
        ):
            life.world.reach("partition: stays, for it is busy")
            return
        life.world.reach("partition: leaves")
        self.away.add(number)
        host.freeze({number})
        host.give([number])
        life.world.after(life.world.chance.choice((30, 500, 3000)), lambda: self._again(number))

    def _again(self, number: int) -> None:
        self._life.do(lambda: self._take(number))

    def _take(self, number: int) -> None:
        life = self._life
        if life.orphan or life.cluster.owners.get(life.index) is not life:
            return  # whoever gives partitions to workers gave it to its successor
        if not life.readable:
            life.world.after(AGAIN_MS, lambda: self._again(number))
            return
        life.store.defers = False  # a claim is durable when it returns
        try:
            claimed = life.host.take([number])
        except StoreError:
            life.mend()
            life.world.after(AGAIN_MS, lambda: self._again(number))
            return
        finally:
            life.store.defers = True
        if not claimed:
            life.become_orphan()
            return
        self.away.discard(number)
        life.world.reach("partition: comes back")
        life.send_tells(life.host.partitions[number].outbox())
        life.wake()
