"""The replay: an event log goes in, and time runs from it.

What lives here: reading and mapping logs (`mapping`, `cells`, `rows`, `native`, `reading`), sorting
them by time within bounded memory (`sorting`), the driver that runs Veredus on log time (`driver`),
and the live display (`progress`). What may not: rules of scenarios or of delivery. Begin with
`reading`, then `driver`.
"""
