"""Which worker has which partition, and how they change hands. Pure.

A `Steward` (the controller's side) knows who lives, what each holds and how loaded each partition is; it wants a table
of owners and gives each worker orders, again and again until what they hold is what it wants. A `Tenure` (a worker's
side) follows the newest orders it heard. Neither needs the other to be right: what keeps two workers from writing is
the epoch in the store, which each taker raises; orders only decide who takes.

    begin with `table` (rendezvous hashing with load), then `steward`, then `tenure`
"""
