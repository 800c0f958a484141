"""What the bench mails: templates of 10, 27 and 100 KB with twenty holes, and values that differ from mail to mail.

Everything follows from a size and a number, so that whoever finds the number in a mail can render it again.
"""

from __future__ import annotations

__all__ = ("KILOBYTES", "expected_html", "expected_text", "holes", "number_in", "template")

import re

import minijinja

from deliverability.compose.template import Template

KILOBYTES = (10, 27, 100)
HOLES = 20
FIRST_NAMES = ("Anna", "Bruno", "Zoë", "Łukasz", "Chiara", "Jürgen", "Noor", "Siân")

_WORDS = (
    "vinyl",
    "record",
    "sleeve",
    "pressing",
    "ballad",
    "night",
    "river",
    "quiet",
    "summer",
    "window",
    "letter",
    "market",
    "harbour",
    "garden",
    "winter",
    "morning",
    "station",
    "coffee",
    "paper",
    "lantern",
    "journey",
    "island",
    "violin",
    "copper",
    "meadow",
    "signal",
    "anchor",
)
_number = re.compile(r"Your order (\d+) ")


def holes(number: int) -> dict[str, object]:
    """Give the values of a mail's twenty holes, by name."""
    values: dict[str, object] = {
        "number": number,
        "name": FIRST_NAMES[number % len(FIRST_NAMES)],
        "total": f"{number % 90_000 / 100:.2f}",
        "city": ("Kraków", "Lyon", "Gent", "Porto & Gaia")[number % 4],
    }
    for place in range(len(values), HOLES):
        mixed = (number * 2_654_435_761 + place * 40_503) % 2**32
        word = _WORDS[mixed % len(_WORDS)]
        values[f"h{place}"] = (
            f"{word} {mixed:08x}" if place % 3 else f"https://shop.example/i/{mixed:x}?a=1&b={word}"
        )
    return values


def template(kilobytes: int, sender: str) -> Template:
    """Make the template whose HTML has about so many kilobytes; values are `event.…`."""
    return Template(
        name=f"order-{kilobytes}k",
        subject="Your order {{ event.number }} is on its way, {{ event.name }}",
        html=_html(kilobytes * 1000),
        text=_text(),
        from_address=sender,
        from_name="The bench",
    )


def expected_html(kilobytes: int, number: int) -> str:
    """Render the HTML of a mail with nothing but the template language."""
    environment = minijinja.Environment(keep_trailing_newline=True)
    rendered: str = environment.render_str(
        _html(kilobytes * 1000), "mail.html", event=holes(number)
    )
    return rendered


def expected_text(number: int) -> str:
    """Render the text part of a mail."""
    environment = minijinja.Environment(keep_trailing_newline=True)
    rendered: str = environment.render_str(_text(), "mail.txt", event=holes(number))
    return rendered


def number_in(text: str) -> int:
    """Find the number of a mail in its text part or HTML."""
    found = _number.search(text)
    assert found is not None, "each mail of the bench names its number"
    return int(found[1])


def _html(octets: int) -> str:
    """Rows of a table as shops send them, a hole in every row until the holes are used up, then without."""
    names = list(holes(0))[4:]
    head = (
        '<!DOCTYPE html>\n<html>\n<head><meta charset="utf-8"><title>Order</title></head>\n<body>\n'
        "<h1>Thank you, {{ event.name }}!</h1>\n<p>Your order {{ event.number }} over {{ event.total }} EUR "
        'goes to {{ event.city }}.</p>\n<table width="600" cellpadding="0">\n'
    )
    foot = "</table>\n<p>The record shop, 1 Long Lane</p>\n</body>\n</html>\n"
    rows: list[str] = []
    size, count = len(head) + len(foot), 0
    while size < octets:
        prose = " ".join(_WORDS[(count * 7 + n * n) % len(_WORDS)] for n in range(24))
        hole = f"{{{{ event.{names[count]} }}}}" if count < len(names) else "no surprises"
        row = (
            '<tr><td style="padding:12px 24px;font-family:Arial,Helvetica,sans-serif;font-size:14px;color:#333333">'
            f"{prose}: <b>{hole}</b></td></tr>\n"
        )
        rows.append(row)
        size += len(row)
        count += 1
    assert count >= len(names), "even the smallest mail has all holes"
    return head + "".join(rows) + foot


def _text() -> str:
    names = list(holes(0))[4:]
    lines = [f"* {{{{ event.{name} }}}}" for name in names]
    return (
        "Thank you, {{ event.name }}!\n\nYour order {{ event.number }} over {{ event.total }} EUR goes to "
        "{{ event.city }}.\n\n" + "\n".join(lines) + "\n"
    )
