"""The store: where partitions become durable. One of the three places that may do I/O.

`store.protocol` says what every store promises; `memory` is the model that tests and simulation use, `rocksdb` the
default. Keys begin with the partition's two bytes, so one list `get` and one `commit` serve all partitions of a worker.
Begin reading at `protocol`.
"""
