"""The cluster: the only package that speaks with Ray.

`running` has the actors of a deployment, `worker_shell` and `control_shell` what Ray runs, `handle` and `calls` how it
is called. `controller` knows who lives, `placing` who owns which partition, `governing` leases limits; `desk` is what
an operator asks for and `views` what is told. What may not live here: business rules; the shells decode, call a
plain class, and encode. Begin reading at `running`.
"""
