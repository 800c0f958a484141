"""The worker: a partition host, an egress and the signing between them in one process and one event loop.

`worker` is the plain class that Ray makes an actor of (`actors.cluster`), `wire` what crosses to it, `rendering`
how a message becomes signed bytes, `recovery` what happens at its start after a death, `views` how states are
shown. What may not live here: business rules. Begin reading at `worker`.
"""
