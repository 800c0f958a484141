"""Deterministic simulation of whole workers under faults; promises are checked after each fault and at the end.

Real: host, partitions, machine of messages, egress, ledger file and its adoption, `recovery.resolve`, governor.
Played: the clock, the disk under the store (`disk`), the network between workers and clients (`world`), the mail
servers (`sink`), the shell that drives a worker (`life`), and a small contact machine that checks exactly-once by
itself (`people`). One seed decides everything; begin reading at `run`.

    python -m tests.simulation.run --seed 4711            one seed, told step by step
    python -m tests.simulation.run --seeds 1000           a range of seeds, with what they reached
    python -m tests.simulation.run --variant no_ledger    a planted bug
"""
