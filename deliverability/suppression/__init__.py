"""Suppression: to whom no mail may go, why, on whose word, for how long, and within which bounds.

An address stands in the list as a keyed hash (`Hasher`). Each is an entity of the control partition
(`machine.SuppressionMachine`); every change is told as a `Change`, the whole of what holds for one address, so that
telling it twice or late does no harm. Whoever sends keeps a `View`: one sorted file of 16 bytes an entry, shared by
all processes of a node, and what changed since. A view that is older than a bound forbids everything (`guard`).

    scope               holds for
    operator            all mail of this deployment
    tenant/T            all mail of a tenant
    stream/T/NAME       one stream of it (marketing, transactional, ...)
    topic/T/NAME        one topic of consent

Begin with `entry`, then `machine`; `formats` reads and writes the files of other senders. No I/O here: files and
sockets are in `actors.suppression`.
"""
