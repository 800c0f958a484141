"""Warm-up: a new source earns a provider's trust day by day, and stops by itself when that goes wrong.

`plan` is the state machine of one source and one provider: how many messages today, and what yesterday's answers make
of tomorrow. `assign` shares a day's recipients out: the most engaged ones to the sources that are being warmed up, the
rest to warm sources. Both are pure. Begin with `plan`.
"""
