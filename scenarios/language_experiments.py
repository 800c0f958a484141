"""The written form of experiments: variants measured by an event, how they are decided, and guard rails."""

from __future__ import annotations

__all__ = ("DECIDING", "EXPERIMENT", "GUARDING")

from typing import Final

from scenarios.forms import ID, Field, Form

EXPERIMENT: Final = Form(
    "experiment",
    "A `split` that is measured, and decided: a contact keeps its variant, what it does counts once, later "
    "contacts get the winner. The first variant is the control; a variant may have no steps.",
    (
        ID,
        Field("experiment", "variants", "the variants", required=True),
        Field("metric", "event", "the event that measures success; needed to decide"),
        Field(
            "within",
            "duration",
            "how long after a contact was assigned what it does counts",
            default="14d",
        ),
        Field(
            "holdout",
            "name",
            "the variant that keeps its share when there is a winner, to go on measuring what that is worth",
        ),
        Field("decide", "deciding", "how it is decided", default="not at all: it is measured"),
        Field("guard", "guarding", "what puts a variant out before; needs `decide`"),
        Field("salt", "name", "experiments with the same salt agree", default="scenario and id"),
    ),
)
DECIDING: Final = Form(
    "deciding",
    "How an experiment is decided. `veredus experiment plan FILE` tells how many contacts that takes.",
    (
        Field(
            "method",
            "choice",
            "`fixed`: once, when each variant has the contacts that finding `effect` takes and their time is over; "
            "`thompson`: the better get more, until one is best with `confidence`",
            choices=("fixed", "thompson"),
            default="fixed",
        ),
        Field("baseline", "percent", "the share of successes expected of the control; for `fixed`"),
        Field("effect", "percent", "the smallest difference worth finding, in points; for `fixed`"),
        Field("power", "percent", "how often a difference of that size is found", default="80"),
        Field("confidence", "percent", "how sure a winner must be", default="95"),
        Field(
            "least",
            "integer",
            "contacts of each variant before weights change; for `thompson`",
            default="100",
            least=1,
        ),
    ),
)
GUARDING: Final = Form(
    "guarding",
    "Shares of a variant's contacts that put it out, once chance alone would reach them in less than 5 %.",
    (
        Field("complaints", "percent", "how many may complain"),
        Field("unsubscribes", "percent", "how many may leave"),
        Field("after", "integer", "not before it has so many contacts", default="200", least=1),
    ),
)
