"""How shoppers behave: figures measured on a real purchase log, and the draws that follow them.

Measured on the CDNOW log (Fader and Hardie; customers whose first purchase was in the first quarter
of 1997, followed until mid-1998; one half of the customers: 11,799 with 35,088 orders in 546 days).
Only figures were taken; no row of it is here.

- `ONE_TIME_SHARE`: customers with one order in the whole log. `ORDERS_MEAN`: orders a customer.
- `ORDERS_SHARE`: customers by number of orders, for 1 to 6 of them.
- `GAP_DAYS`: days from an order to the same customer's next one, as (share of gaps, days);
  `GAP_SAME_DAY` of the gaps are 0 days, `GAP_90_DAYS` are 90 days or more.
- `REPEAT_WITHIN`: customers who ordered again on a later day, as (days since the first order,
  share).
- `FIRST_ORDERS_BY_WEEK`: in which of the log's first twelve weeks customers ordered first, as
  shares.
- `ITEMS`: orders by number of items, for 1 to 10; the rest (1.2 %) have more. `ITEMS_MEAN`.
- `UNIT_PRICE`: an order's value by its number of items, in minor units, as (share of orders,
  price).
- `VALUE`: an order's value in minor units, as (share of orders, value). `VALUE_MEAN`.

Purchase days follow the BG/NBD model (Fader, Hardie and Lee 2005): a customer orders at random with
an own rate, which is gamma distributed over customers, and leaves for good after each repeat order
with an own probability, which is beta distributed. `RATE_SHAPE`, `RATE_DAYS`, `LEAVE_A` and
`LEAVE_B` are the maximum likelihood estimates on the purchase days of that log. The model knows no
second order of a day for which `SAME_DAY_AGAIN` makes up.

Assumed, since that log has orders only: `CART_ABANDONED` (of carts; published surveys of shops say
about seven in ten), `SESSIONS_WITH_CART` (of visits), `VIEWS_MORE` (a further product is viewed in
a visit), `ABANDONED_AFTER_DAYS` (mean, from an order to a cart that comes to nothing), `CONSENTING`
(contacts who granted marketing mail) and `HOUR_WEIGHTS` (by hour of the day; that log has no
times).
"""

from __future__ import annotations

__all__ = (
    "ABANDONED_AFTER_DAYS",
    "CART_ABANDONED",
    "CONSENTING",
    "FIRST_ORDERS_BY_WEEK",
    "GAP_90_DAYS",
    "GAP_DAYS",
    "GAP_SAME_DAY",
    "HOUR_WEIGHTS",
    "ITEMS",
    "ITEMS_MEAN",
    "LOG_DAYS",
    "ONE_TIME_SHARE",
    "ORDERS_MEAN",
    "ORDERS_SHARE",
    "REPEAT_WITHIN",
    "SESSIONS_WITH_CART",
    "UNIT_PRICE",
    "VALUE",
    "VALUE_MEAN",
    "VIEWS_MORE",
    "abandoned_carts",
    "first_order_day",
    "idle_visits",
    "items",
    "minute_of_day",
    "order_days",
    "unit_price",
    "views",
)

import random
from bisect import bisect_right
from itertools import accumulate

LOG_DAYS = 546
ONE_TIME_SHARE = 0.5023
ORDERS_MEAN = 2.974
ORDERS_SHARE = (0.5023, 0.1777, 0.0925, 0.0586, 0.0430, 0.0253)
GAP_DAYS = ((0.10, 3), (0.25, 10), (0.50, 31), (0.75, 89), (0.90, 192))
GAP_SAME_DAY = 0.0440
GAP_90_DAYS = 0.2484
REPEAT_WITHIN = ((30, 0.1751), (90, 0.2930), (180, 0.3757), (365, 0.4617))
FIRST_ORDERS_BY_WEEK = (
    0.0684,
    0.0693,
    0.0777,
    0.0838,
    0.0914,
    0.0947,
    0.0876,
    0.0856,
    0.0929,
    0.0920,
    0.0829,
    0.0736,
)
ITEMS = (0.4477, 0.2310, 0.1377, 0.0720, 0.0407, 0.0246, 0.0155, 0.0091, 0.0058, 0.0042)
ITEMS_MEAN = 2.414
UNIT_PRICE = (
    (0.0, 299),
    (0.01, 549),
    (0.05, 899),
    (0.10, 1043),
    (0.25, 1225),
    (0.40, 1336),
    (0.50, 1399),
    (0.60, 1462),
    (0.75, 1549),
    (0.85, 1830),
    (0.90, 2099),
    (0.95, 2751),
    (0.99, 4999),
    (1.0, 8999),
)
VALUE = ((0.10, 1177), (0.25, 1449), (0.50, 2613), (0.75, 4397), (0.90, 7186), (0.95, 9592))
VALUE_MEAN = 3597

RATE_SHAPE = 0.26995
RATE_DAYS = 42.182
LEAVE_A = 0.43748
LEAVE_B = 1.83529
SAME_DAY_AGAIN = 0.022

CART_ABANDONED = 0.70
ABANDONED_AFTER_DAYS = 6.0
SESSIONS_WITH_CART = 0.5
VIEWS_MORE = 0.4
CONSENTING = 0.94
HOUR_WEIGHTS = (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 11, 11, 12, 11, 10, 10, 11, 12, 14, 16, 17, 14, 9, 4)

_WEEKS = list(accumulate(FIRST_ORDERS_BY_WEEK))
_HOURS = list(accumulate(HOUR_WEIGHTS))
_ITEMS = list(accumulate(ITEMS))
_PRICE_SHARES = [share for share, _ in UNIT_PRICE]


def first_order_day(draw: random.Random, days: int) -> int:
    """Draw the day of a contact's first order; in a shorter log the twelve weeks shrink to its first half."""
    week = min(bisect_right(_WEEKS, draw.random() * _WEEKS[-1]), len(_WEEKS) - 1)
    day = week * 7 + draw.randrange(7)
    acquiring = 7 * len(_WEEKS)
    return day if days >= 2 * acquiring else day * (days // 2) // acquiring


def order_days(draw: random.Random, first: int, days: int) -> list[int]:
    """Draw the days of all of a contact's orders, rising, from its first one until before day `days`."""
    rate = draw.gammavariate(RATE_SHAPE, 1 / RATE_DAYS)
    leaves = draw.betavariate(LEAVE_A, LEAVE_B)
    found = [first]
    at = first + draw.random()
    while True:
        if draw.random() < SAME_DAY_AGAIN:
            found.append(found[-1])
        at += draw.expovariate(rate) if rate > 0 else days
        if at >= days:
            return found
        found.append(int(at))
        if draw.random() < leaves:
            return found


def items(draw: random.Random) -> int:
    """Draw the number of items of an order."""
    number = bisect_right(_ITEMS, draw.random()) + 1
    while number > len(ITEMS) and number < 99 and draw.random() < 0.75:
        number += 1
    return number


def unit_price(draw: random.Random) -> int:
    """Draw a price in minor units, between the measured quantiles in proportion."""
    share = draw.random()
    upper = max(1, bisect_right(_PRICE_SHARES, share))
    (low_share, low), (high_share, high) = UNIT_PRICE[upper - 1 : upper + 1]
    return round(low + (high - low) * (share - low_share) / (high_share - low_share))


def minute_of_day(draw: random.Random) -> int:
    """Draw when on a day somebody shops."""
    hour = bisect_right(_HOURS, draw.random() * _HOURS[-1])
    return hour * 60 + draw.randrange(60)


def abandoned_carts(draw: random.Random) -> int:
    """Draw how many carts come to nothing for one that becomes an order."""
    return _geometric(draw, CART_ABANDONED)


def idle_visits(draw: random.Random) -> int:
    """Draw how many visits end without a cart for one that has one."""
    return _geometric(draw, 1 - SESSIONS_WITH_CART)


def views(draw: random.Random) -> int:
    """Draw how many products are viewed in a visit, at least one."""
    return 1 + _geometric(draw, VIEWS_MORE)


def _geometric(draw: random.Random, again: float) -> int:
    number = 0
    while number < 50 and draw.random() < again:
        number += 1
    return number
