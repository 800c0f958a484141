"""Measures everything, against ceilings: `veredus bench CASE`.

A case is a module with `run(quick, seed)`. It measures Veredus and the ceiling it is held against in one run,
alternating, since machines differ from hour to hour and figures of two runs can't be compared; so the *ratio* of a
result is what binds. `bench.frame` says what a result is, `bench.cases` lists the cases, `bench.cli` is the command.
Ceilings live in `bench.ceilings` and import nothing of Veredus.

Here may be sockets, processes, clocks and Ray; nothing else may import it. Begin reading with `bench.frame`.
"""
