"""The gateway: the HTTP interface of an instance. No business rule lives here.

A request passes `door` (who asks, how much, how long), `bodies` and `wire` (bytes to inputs of the engine, mistakes
named item by item), `intake` or `routes` (one call to `actors.backend.Backend`), and leaves as JSON or as a problem
(`problems`). Begin reading with `door`, then `server`, which puts it on sockets. `docs/http-api.md` tells the outside.
"""
