"""What rules say of one path, put into the book of limits; and what automation has changed for a while.

The scopes of a path are: source and site (`max_message_rate` and its kin), source and provider (the `provider_` forms),
and each named limit, which all paths with that name share. Limits of rules are exact: tokens may be used up to
`TOKEN_MS` after they were given, so periods are counted that much longer.
"""

from __future__ import annotations

__all__ = ("PathLimits", "Shown", "is_setting")

from collections.abc import Iterable

import msgspec

from deliverability.pacing.exchange import TOKEN_MS, Path
from deliverability.pacing.limits import Dimension, LimitBook
from deliverability.shaping.effective import EffectiveSetting, explain
from deliverability.shaping.quantities import ConnectionLimit, Throttle, parse_throttle
from deliverability.shaping.rules import ActionKind, AutomationRule, OptionValue, RuleSet
from engine.errors import Place

_RATES = {
    "max_message_rate": Dimension.MESSAGES,
    "max_byte_rate": Dimension.BYTES,
    "max_recipient_rate": Dimension.RECIPIENTS,
    "max_connection_rate": Dimension.OPENS,
}
_SELECTIONS = {"source_selection_rate": "site", "provider_source_selection_rate": "provider"}
_LARGEST_BYTES = 1 << 20  # a message of this size passes any limit of bytes that is above it


class Shown(msgspec.Struct, frozen=True):
    """A limit that holds, for people: what, how much, and the line that set it."""

    name: str
    value: str
    place: str


class PathLimits:
    """The limits of one path.

    Args:
        book: holds the exact limits of all paths.
        rules: all files.
        path: which.
        share: this many pacers share each limit (in a replay, one in each worker).
    """

    def __init__(self, book: LimitBook, rules: RuleSet, path: Path, share: int = 1) -> None:
        self._book = book
        self._share = share
        self._found = explain(rules, path.domain, path.hosts, path.source)
        self.provider = self._found.providers[-1] if self._found.providers else path.site
        """The rules' provider; where none claims the site, the site itself."""
        self._site = f"site {path.source} {path.site}"
        self._group = f"provider {path.source} {self.provider}"
        self._changed: dict[str, EffectiveSetting] = {}
        self.scopes: tuple[str, ...] = ()
        self._apply()

    @property
    def automation(self) -> tuple[AutomationRule, ...]:
        """The rules that act on replies of this path."""
        return self._found.automation

    def change(self, changes: Iterable[tuple[str, OptionValue, Place]]) -> None:
        """Let automation's settings (option, value, place of the rule) hold instead; none: only the files' again."""
        changed = {
            name: EffectiveSetting(name, value, place, "automation")
            for name, value, place in changes
        }
        if changed != self._changed:
            self._changed = changed
            self._apply()

    def connections(self) -> int | None:
        """Return how many connections to the site may be open from the source; None: no rule says so."""
        return self._lowest("connection_limit", "additional_connection_limits")

    def provider_connections(self) -> int | None:
        """Return the same over all sites of the provider."""
        return self._lowest("provider_connection_limit")

    def messages_per_connection(self) -> int | None:
        """Return after how many messages a connection is closed; None: no rule says so."""
        value = self._value("max_deliveries_per_connection")
        return value if isinstance(value, int) else None

    def shown(self) -> tuple[Shown, ...]:
        """List the limits that pacing keeps to, with the lines that set them."""
        names = [*_RATES, *(f"provider_{name}" for name in _RATES), *_SELECTIONS]
        names += ["connection_limit", "provider_connection_limit", "max_deliveries_per_connection"]
        found = [self._setting(name) for name in names]
        return tuple(
            Shown(one.name, str(_plain(one.value)), str(one.place)) for one in found if one
        )

    # ---- inside

    def _setting(self, name: str) -> EffectiveSetting | None:
        return self._changed.get(name) or self._found.setting(name)

    def _value(self, name: str) -> OptionValue | None:
        found = self._setting(name)
        return None if found is None else found.value

    def _lowest(self, name: str, named: str = "") -> int | None:
        found = self._value(name)
        limits = [found.limit] if isinstance(found, ConnectionLimit) else []
        limits += [int(text.removeprefix("local:")) for _, text in _pairs(self._value(named))]
        return max(min(limits) // self._share, 1) if limits else None

    def _apply(self) -> None:
        """Put the rates into the book; what was used of those that stay the same stays used."""
        for name, dimension in _RATES.items():
            self._rate(self._site, dimension, self._value(name))
            self._rate(self._group, dimension, self._value(f"provider_{name}"))
        scopes = [self._site, self._group]
        for name, what in _SELECTIONS.items():
            scope = f"selection {self._site if what == 'site' else self._group}"
            self._rate(scope, Dimension.MESSAGES, self._value(name))
            scopes.append(scope)
        for name, text in _pairs(self._value("additional_message_rate_throttles")):
            self._rate(f"named {name}", Dimension.MESSAGES, parse_throttle(text))
            scopes.append(f"named {name}")
        self.scopes = tuple(scopes)

    def _rate(self, scope: str, dimension: Dimension, value: OptionValue | None) -> None:
        if not isinstance(value, Throttle):
            self._book.drop_rate(scope, dimension)
            return
        quantity = max(value.quantity // self._share, 1)
        longer = Throttle(quantity, value.period_ms + TOKEN_MS, value.burst)
        if value.period_ms < TOKEN_MS:  # per second: tokens are given evenly, the pace keeps to it
            longer = Throttle(quantity, value.period_ms, value.burst)
        largest = min(quantity, _LARGEST_BYTES) if dimension is Dimension.BYTES else 1
        self._book.set_rate(scope, dimension, longer, largest)


def _pairs(value: OptionValue | None) -> tuple[tuple[str, str], ...]:
    return value if isinstance(value, tuple) else ()


def _plain(value: OptionValue) -> OptionValue | int:
    return value.limit if isinstance(value, ConnectionLimit) else value


def is_setting(kind: ActionKind) -> bool:
    """Tell whether an action changes a setting of the path."""
    return kind in (ActionKind.SET_CONFIG, ActionKind.SET_DOMAIN_CONFIG)
