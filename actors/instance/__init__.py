"""A running instance: `backend` answers the edge by asking workers, `metrics` shows their counters, `up` runs it all.

What may not live here: rules of mail or marketing. Begin reading at `up`.
"""
