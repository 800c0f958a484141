"""A process that commits numbered batches until it is killed, and says on stdout what is durable.

python -m tests.engine.store.driver PATH SEED, for a RocksDB store; HOST:PORT in place of PATH: a Redis.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

from engine.redis_config import Redis
from engine.store.protocol import Batch, Stand, Store
from engine.store.redis import RedisStore
from engine.store.rocksdb import RocksStore

PARTITIONS = 3


def batches_of(seed: int, seq: int) -> list[Batch]:
    """Make the batches of one commit: the same for the same seed and number."""
    chance = Random(seed * 1_000_003 + seq)
    made = []
    for partition in range(PARTITIONS):
        batch = Batch(partition, Stand(1, seq))
        prefix = partition.to_bytes(2)
        start = prefix + b"e" + bytes((chance.randrange(200),))
        if chance.random() < 0.2:
            batch.ranges.append((start, prefix + b"e" + bytes((start[-1] + 20,))))
        keys = {prefix + b"e" + chance.randbytes(1) for _ in range(20)}
        for key in sorted(keys):
            if chance.random() < 0.3:
                batch.deletes.append(key)
            else:
                batch.puts.append((key, seq.to_bytes(8) + chance.randbytes(50)))
        made.append(batch)
    return made


def main() -> None:
    """Commit, and say so, for ever."""
    where = sys.argv[1]
    redis = Redis(addresses=(where,)) if ":" in where else None
    store: Store = RedisStore(redis) if redis else RocksStore(Path(where), cache_mb=1)
    seed, seq = int(sys.argv[2]), store.stand(0).seq
    while True:
        seq += 1
        assert store.commit(batches_of(seed, seq)) == []
        sys.stdout.write(f"{seq}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
