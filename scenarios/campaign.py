"""Campaigns: one send to a segment as of a moment. Read from a file, and made into a scenario that contacts are run by.

    campaign: spring
    segment: big-spenders
    send: {template: spring, topic: offers}
    at: 2027-03-20T09:00
    zone: contact
    pace: 200
    stop: {bounces: 5, complaints: 0.3}

A campaign's scenario has the name `campaign.NAME`, so consent, caps, quiet hours, lateness and outcomes are as for any
other mail. It waits for the time of day if it goes by the contact's zone, draws a variant if it is a test, and sends
once: `reentry: never` is what makes a fan-out that is repeated after a crash harmless.
"""

from __future__ import annotations

__all__ = (
    "CAMPAIGN",
    "CAMPAIGN_PARTS",
    "Campaign",
    "Metric",
    "StopRules",
    "TestPlan",
    "check_campaign",
    "load_campaign",
    "scenario_of",
    "start_of",
)

import datetime as dt
from typing import Any, Final, Literal

import msgspec

from scenarios.document import Node, ScalarNode, SequenceNode, parse_document
from scenarios.language import Field, Form
from scenarios.mistakes import Mistake
from scenarios.model import (
    Calendar,
    Case,
    Entry,
    Scenario,
    Send,
    Split,
    Step,
    Switch,
    Variant,
    Wait,
)
from scenarios.runs import CAMPAIGN_PREFIX
from scenarios.scalars import join
from scenarios.steps import StepReader
from scenarios.zones import first_instant, zone_of

Metric = Literal["clicked", "opened"]

CAMPAIGN: Final = Form(
    "campaign",
    "A campaign, one a file.",
    (
        Field("campaign", "name", "its name, unique within the tenant for ever", required=True),
        Field("description", "text", "what it is for"),
        Field("segment", "name", "who gets it, as of the moment it starts", default="all contacts"),
        Field("send", "send", "what is sent, as in a `send` step", required=True),
        Field("at", "text", "when: a wall time, `2027-03-20T09:00`", default="when it is started"),
        Field(
            "zone",
            "text",
            "of that time: `contact` for each one's own, or a zone such as `Europe/Oslo`",
            default="UTC",
        ),
        Field("pace", "integer", "contacts a second at most", default="0: as fast as it goes"),
        Field("seeds", "names", "contacts who get it first, whoever they are"),
        Field("test", "attributes", "an A/B test on a sample before the rest"),
        Field("stop", "attributes", "when to stop by itself"),
    ),
)
TEST: Final = Form(
    "test",
    "Variants go to a sample, each contact's drawn by its id; after a time the rest gets the better one.",
    (
        Field(
            "variants",
            "variants",
            "two or more, each `{name: a, template: spring-a}`",
            required=True,
        ),
        Field(
            "sample",
            "integer",
            "percent of the segment that tests",
            default="10",
            least=1,
            most=100,
        ),
        Field(
            "after", "duration", "how long after the sample was sent the rest goes", default="4h"
        ),
        Field(
            "metric",
            "choice",
            "what is better: more contacts of those delivered who did it; of equals the first",
            choices=("clicked", "opened"),
            default="clicked",
        ),
    ),
)
VARIANT: Final = Form(
    "test variant",
    "One variant.",
    (
        Field("name", "name", "its name", required=True),
        Field("template", "template", "its template", required=True),
    ),
)
STOP: Final = Form(
    "stop",
    "Shares that end it, in percent. What isn't begun is cancelled then.",
    (
        Field("bounces", "text", "of those sent with an end, how many bounced"),
        Field("complaints", "text", "of those delivered, how many complained"),
        Field("after", "integer", "not before so many have an end", default="100", least=1),
    ),
)
CAMPAIGN_PARTS: Final = (TEST, VARIANT, STOP)


class TestPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """An A/B test: names and templates of variants, who tests, when it is decided by what."""

    __test__ = False  # pytest: no test class

    variants: tuple[tuple[str, str], ...]
    sample_percent: int = 10
    after_ms: int = 4 * 3_600_000
    metric: Metric = "clicked"


class StopRules(msgspec.Struct, frozen=True, omit_defaults=True):
    """Shares in percent at which a campaign stops; 0: never."""

    bounces: float = 0.0
    complaints: float = 0.0
    after: int = 100


class Campaign(msgspec.Struct, frozen=True, omit_defaults=True):
    """A campaign as it is written. `at` is a wall time in `zone` ("": when it is started)."""

    name: str
    send: Send
    segment: str = ""
    description: str = ""
    at: str = ""
    zone: str = "UTC"
    pace: int = 0
    seeds: tuple[str, ...] = ()
    test: TestPlan | None = None
    stop: StopRules = StopRules()

    @property
    def scenario(self) -> str:
        """The name of the scenario that contacts are run by."""
        return CAMPAIGN_PREFIX + self.name

    @property
    def by_contact(self) -> bool:
        """Whether its time is each contact's own."""
        return self.zone == "contact"

    def templates(self) -> dict[str, str]:
        """Give the templates by variant; without a test by the name of the step."""
        if self.test is None:
            return {self.send.id: self.send.template}
        return dict(self.test.variants)


def check_campaign(text: str, file: str = "") -> list[Mistake]:
    """Find every mistake of a campaign file."""
    return _examine(text, file)[1]


def load_campaign(text: str, file: str = "") -> Campaign:
    """Read a campaign. Raises: InputError: with the first mistake's place."""
    campaign, mistakes = _examine(text, file)
    if mistakes:
        raise mistakes[0].error()
    assert campaign is not None
    return campaign


def _examine(text: str, file: str) -> tuple[Campaign | None, list[Mistake]]:
    root, mistakes = parse_document(text, file)
    if root is None:
        return None, mistakes
    reader = _Reader(file)
    campaign = reader.campaign(root)
    return campaign, sorted({*mistakes, *reader.mistakes})


class _Reader(StepReader):
    """Reads a campaign with the means of steps."""

    def campaign(self, root: Node) -> Campaign | None:
        items = self.form(root, CAMPAIGN, "", told="a campaign")
        if items is None or "send" not in items:
            return None
        send = self._send({"send": items["send"]}, "mail", "")
        assert isinstance(send, Send)
        zone = self._zone_of(items)
        at = self.scalar(CAMPAIGN, items, "at", "")
        if at and _wall(at) is None:
            mend = "write `2027-03-20T09:00`, without a zone: that is `zone`"
            self.mistake(items["at"], "at", f"`{at[:40]}` is no wall time", mend)
        if zone == "contact" and not at:
            self.mistake(
                items["zone"], "zone", "by the contact's zone it needs a time", "add `at:`"
            )
        return Campaign(
            self.scalar(CAMPAIGN, items, "campaign", ""),
            send,
            self.scalar(CAMPAIGN, items, "segment", ""),
            self.scalar(CAMPAIGN, items, "description", ""),
            at,
            zone,
            self.integer(CAMPAIGN, items, "pace", "", 0),
            self._seeds(items.get("seeds")),
            self._test(items.get("test")),
            self._stop_rules(items.get("stop")),
        )

    def _zone_of(self, items: dict[str, Node]) -> str:
        node = items.get("zone")
        if node is None:
            return "UTC"
        text = node.text if isinstance(node, ScalarNode) else ""
        if text != "contact" and zone_of(text) is None:
            mend = "use `contact`, or a name such as `Europe/Oslo`"
            self.mistake(node, "zone", f"there is no time zone `{text[:40]}`", mend)
            return "UTC"
        return text

    def _seeds(self, node: Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        parts = node.items if isinstance(node, SequenceNode) else [node]
        found = [
            part.text
            for part in parts
            if isinstance(part, ScalarNode) and 0 < len(part.text) <= 200
        ]
        if len(found) != len(parts):
            self.mistake(node, "seeds", "seeds are ids of contacts", "write `[ann, bob]`")
        return tuple(dict.fromkeys(found))

    def _test(self, node: Node | None) -> TestPlan | None:
        if node is None:
            return None
        items = self.form(node, TEST, "test") or {}
        metric: Any = self.scalar(TEST, items, "metric", "test") or "clicked"
        return TestPlan(
            self._test_variants(items.get("variants"), "test.variants"),
            self.integer(TEST, items, "sample", "test", 10),
            self.duration(items.get("after"), "test.after") or TestPlan(()).after_ms,
            metric,
        )

    def _test_variants(self, node: Node | None, path: str) -> tuple[tuple[str, str], ...]:
        if node is None:
            return ()
        found: dict[str, str] = {}
        parts = node.items if isinstance(node, SequenceNode) else []
        for number, part in enumerate(parts):
            at = f"{path}[{number}]"
            items = self.form(part, VARIANT, at) or {}
            name = self.scalar(VARIANT, items, "name", at)
            if name in found:
                self.mistake(part, at, f"the variant `{name}` appears twice", "rename one")
            found[name] = self.scalar(VARIANT, items, "template", at)
        if len(parts) < 2:
            self.mistake(node, path, "a test needs two variants or more", "add another")
        return tuple(found.items())

    def _stop_rules(self, node: Node | None) -> StopRules:
        if node is None:
            return StopRules()
        items = self.form(node, STOP, "stop") or {}
        return StopRules(
            self._percent(items.get("bounces"), join("stop", "bounces")),
            self._percent(items.get("complaints"), join("stop", "complaints")),
            self.integer(STOP, items, "after", "stop", 100),
        )

    def _percent(self, node: Node | None, path: str) -> float:
        if node is None:
            return 0.0
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
            return float(value)
        self.mistake(node, path, "a share is a number of percent", "write `5`, for instance")
        return 0.0


def _wall(text: str) -> dt.datetime | None:
    try:
        read = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo is None and 1990 <= read.year <= 9000 else None


def start_of(campaign: Campaign, now: int) -> int:
    """Tell when the fan-out begins, ms. By contacts' zones that is when the first zone has the time (UTC+14)."""
    wall = _wall(campaign.at)
    if wall is None:
        return now
    zone = zone_of("Etc/GMT-14" if campaign.by_contact else campaign.zone)
    assert zone is not None, "it was checked"
    return first_instant(wall, zone)


def scenario_of(campaign: Campaign) -> Scenario:
    """Make the scenario of a campaign. A contact of the rest brings the winner's name as `event.variant`."""
    steps: list[Step] = []
    wall = _wall(campaign.at)
    if campaign.by_contact and wall is not None:
        date = f"'{wall.date().isoformat()}'"
        calendar = Calendar(date=date, at_minute=wall.hour * 60 + wall.minute)
        steps.append(Wait("time", 0, calendar))
    if campaign.test is None:
        steps.append(campaign.send)
    else:
        steps.append(_tested(campaign, campaign.test))
    made = Scenario(
        name=campaign.scenario,
        entries=(Entry(source="list"),),
        steps=tuple(steps),
        description=campaign.description,
    )
    return made.with_version()


def _tested(campaign: Campaign, test: TestPlan) -> Step:
    def sends(prefix: str) -> list[tuple[str, Send]]:
        return [
            (name, msgspec.structs.replace(campaign.send, id=f"{prefix}{name}", template=template))
            for name, template in test.variants
        ]

    drawn = Split(
        "test",
        tuple(Variant(name, 1, (send,)) for name, send in sends("test-")),
        experiment=True,
        metric=f"mail.{test.metric}",
    )
    cases = tuple(
        Case(f"has(event.variant) && event.variant == '{name}'", (send,))
        for name, send in sends("rest-")
    )
    return Switch("which", cases, (drawn,))
