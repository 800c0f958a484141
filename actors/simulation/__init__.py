"""Simulation and backtest of a scenario: the production machines under a virtual clock, over a whole audience.

What lives here:
- `life`: one contact's life, its contact and message machines and their clock;
- `world`: what all lives share (catalog, machines, cast), made of texts, so that any process can make it;
- `counting`: what is counted, and how counts of many lives become one;
- `solo` (lives one after the other, over as many processes as there are cores) and `crowd` (all lives in one order of
  time, where providers' quotas make them depend on each other: `providers`);
- `forecast` (load against limits and warm-up plan), `report` and `page` (what people read), `backtest`.

What may not: clocks of the wall, chance without a seed, sockets. Only `run` reads files and starts processes. Begin
reading at `life`.
"""
