"""The written form of steps that ask somebody else and wait, as data: `webhook` and `coupon`."""

from __future__ import annotations

__all__ = ("CALLING", "COUPON", "TAKING", "WEBHOOK")

from typing import Final

from scenarios.forms import ID, Field, Form

WEBHOOK: Final = Form(
    "webhook",
    "Post to a system outside, and wait for its answer. Signed, tried again with growing pauses, always under the same "
    "id. Taken (2xx), the journey goes on with the next step.",
    (
        ID,
        Field("webhook", "webhook", "an endpoint's name, or the form below", required=True),
        Field(
            "timeout",
            "duration",
            "how long it is tried, and the answer waited for",
            default="1d",
        ),
        Field("else", "steps", "the steps to take when it is refused, or the time is out"),
    ),
)
CALLING: Final = Form(
    "calling",
    "What is posted where, and what is kept of the answer.",
    (
        Field(
            "endpoint",
            "name",
            "`[tenant.endpoint.NAME]` of the configuration, which has address and secret",
            required=True,
        ),
        Field(
            "data",
            "attributes",
            "fields to post beside contact, scenario, step and journey; a text that begins with `=` is an expression",
        ),
        Field(
            "as",
            "name",
            "a name under `journey` for the answer: `status` (0: none came), and the fields that are kept",
        ),
        Field("keep", "names", "fields of the answer, a JSON object, that are kept"),
    ),
)
COUPON: Final = Form(
    "coupon",
    "Take a code from a pool (`veredus coupons`), for the mail that follows. Each code is given once.",
    (
        ID,
        Field("coupon", "coupon", "a pool's name, or the form below", required=True),
        Field("else", "steps", "the steps to take when there is no code: none is left, or no pool"),
    ),
)
TAKING: Final = Form(
    "taking",
    "Which pool, and what the code is called.",
    (
        Field("pool", "name", "the pool's name", required=True),
        Field("as", "name", "the code's name under `journey`", default="coupon"),
        Field(
            "timeout",
            "duration",
            "how long the pool may take to answer (usually a moment); a code that comes later goes back",
            default="1h",
        ),
    ),
)
