"""The edge: Ray shells, HTTP, command line, replay and report; the composition root of every process.

What lives here: `worker` (host and egress in one loop), `cluster` (the only module that speaks with Ray), `gateway`
(HTTP), `backend` (what the edge asks of the engine), `instance` (`veredus up`), `replay` (time from a log), `twin`
(the server in front of the models), `report`, `demo`, `cli`. What may not: rules of mail or marketing. Begin
reading at `worker.worker`, then `cluster`.
"""
