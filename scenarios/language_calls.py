"""The written form of steps that ask somebody else, as data: `webhook` and `coupon`, which wait, and `products`."""

from __future__ import annotations

__all__ = ("CALLING", "COUPON", "FINDING", "PRODUCTS", "TAKING", "WEBHOOK")

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
PRODUCTS: Final = Form(
    "products",
    "Look products up in a list (`veredus products`), for conditions and for the mail that follows. The journey keeps "
    "the rows that it found. What stands there when nothing is found must be said: `instead`, `else`, or both.",
    (
        ID,
        Field("products", "products", "the form below", required=True),
        Field("else", "steps", "the steps to take when no row is found"),
    ),
)
FINDING: Final = Form(
    "finding",
    "Which rows of which list, and what they are called.",
    (
        Field("from", "name", "the list's name", required=True),
        Field(
            "keys",
            "expression",
            "the keys of the rows: a text, an integer, or a list, such as `event.products`",
            required=True,
        ),
        Field("as", "name", "the list of rows found, under `journey`", default="products"),
        Field("limit", "integer", "how many rows at most", default="6", least=1, most=20),
        Field("instead", "keys", "keys of rows that fill up what is missing to `limit`"),
    ),
)
