"""What somebody plans for many contacts, and what carries it out: versions, runs, segments, schedules, campaigns.

A *run* walks over all contacts of a tenant in the background, worker by worker, and gives those whom its *aim* is about
one input each (`scenarios.runs`). Its id is that of the input, so a walk that is repeated after a crash changes nothing
twice; how far it came is a file in the data directory (`runs`). `walking` is the worker's side, `keeper` drives.

Begin reading at `aims`, then `keeper`. What a contact does with such an input is in `scenarios`.
"""
