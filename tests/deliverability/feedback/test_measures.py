"""Rates over their limits hold bulk streams back, and let them go: by the day, never against an operator."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feedback.loop import thresholds_of
from deliverability.feedback.findings import Finding, Thresholds, findings_of
from deliverability.feedback.measures import HOLD_MS, Held, Measures, next_measures
from deliverability.feedback.rates import Lane, Rates
from deliverability.feedback.reports import ReportBook
from engine.config import parse

NOW = 1_800_000_000_000
BULK = {("shop", "marketing")}


def rates(delivered: int, complained: int, bounced: int, *providers: str, at: int = NOW) -> Rates:
    """Counts of one stream, the same at each provider."""
    made = Rates()
    for provider in providers or ("google",):
        lane = Lane("shop", "marketing", "192.0.2.1", provider)
        for kind, number in (
            ("delivered", delivered),
            ("complained", complained),
            ("bounced", bounced),
        ):
            if number:
                made.note(lane, kind, "", at, number)
    return made


def found(made: Rates, now: int = NOW) -> list[Finding]:
    return findings_of(made, ReportBook(), now, (), Thresholds())


def asked(findings: list[Finding]) -> set[tuple[str, str]]:
    """What findings of a day ask for, and where."""
    return {(one.do, one.provider) for one in findings if "/day/" in one.id}


@pytest.mark.parametrize(
    ("complained", "do"), [(9, set()), (10, {"slow"}), (29, {"slow"}), (30, {"pause"})]
)
def test_complaints_slow_at_a_tenth_of_a_percent_and_pause_at_three(
    complained: int, do: set[str]
) -> None:
    """The ceiling that Google names; of 10,000 messages."""
    assert {one for one, _ in asked(found(rates(10_000, complained, 0)))} == do


@pytest.mark.parametrize(("bounced", "do"), [(100, set()), (400, {"slow"}), (600, {"pause"})])
def test_bounces_slow_at_two_percent_and_pause_at_five(bounced: int, do: set[str]) -> None:
    """Of what was decided, some 10,000 messages."""
    assert {one for one, _ in asked(found(rates(9_800, 0, bounced)))} == do


def test_few_messages_are_chance_but_a_stream_is_summed_up() -> None:
    """Nobody got a thousand; together they did, and then the whole stream is meant."""
    assert found(rates(400, 5, 40)) == []
    many = [f"p{n}.example" for n in range(5)]
    assert asked(found(rates(400, 5, 40, *many))) == {("pause", "")}


def test_a_week_alerts_and_does_not_act() -> None:
    """What is held sends nothing: a week's rate would hold it for a week."""
    old = found(rates(10_000, 50, 0, at=NOW - 3 * 86_400_000))
    assert {one.do for one in old} == {"alert"}
    assert next_measures(Measures(), old, {}, BULK, NOW) == []


@pytest.mark.parametrize(("refused", "do"), [(90, set()), (150, {"slow"}), (600, {"pause"})])
def test_refusals_of_us_slow_at_one_percent_and_pause_at_five(refused: int, do: set[str]) -> None:
    """At once or later; what is about recipients alone isn't counted with them."""
    made = rates(9_400, 0, 0)
    lane = Lane("shop", "marketing", "192.0.2.1", "google")
    made.note(lane, "bounced", "host-blocked", NOW, refused // 2)
    made.note(lane, "returned", "low-reputation", NOW, refused // 2)
    made.note(lane, "bounced", "mailbox-unknown", NOW, 60)
    blocks = [one for one in found(made) if one.id.startswith("blocks/day/")]
    assert {one.do for one in blocks} == do
    assert all("refused as unwanted at google" in one.says for one in blocks)


def test_a_stream_may_have_limits_of_its_own() -> None:
    """What isn't written for it is as for all; streams that aren't written are untouched."""
    text = "[measures]\nmessages_min = 500\n[measures.streams.marketing]\nbounces_pause_percent = 3.0\n"
    limits = thresholds_of(parse(text))
    assert limits.of("marketing").messages_min == limits.of("news").messages_min == 500
    assert limits.of("marketing").bounces_slow == 0.02
    tight = findings_of(rates(9_800, 0, 400), ReportBook(), NOW, (), limits)
    assert asked(tight) == {("pause", "google")}
    assert asked(found(rates(9_800, 0, 400))) == {("slow", "google")}


def pause(provider: str = "google", stream: str = "marketing") -> Finding:
    return Finding(
        id=f"complaints/day/shop/{stream}/-/{provider}",
        gravity="critical",
        do="pause",
        says="too many",
        mend="send less",
        tenant="shop",
        stream=stream,
        provider=provider,
    )


def after(
    measures: Measures, findings: list[Finding], standing: dict[int, str], now: int
) -> tuple[Measures, list[str], dict[int, str]]:
    """One look, carried out."""
    held, marks, told = dict(measures.held), dict(standing), list[str]()
    for one in next_measures(measures, findings, standing, BULK, now):
        told.append(one.do)
        match one.do:
            case "hold":
                number = max(marks, default=0) + 1
                marks[number] = "shop"
                held[one.held.finding] = msgspec.structs.replace(one.held, mark=number)
            case "overruled":
                held[one.held.finding] = one.held
            case "let_go":
                del marks[one.held.mark], held[one.held.finding]
            case "forget":
                del held[one.held.finding]
    return Measures(held), told, marks


def test_held_for_a_day_and_until_the_rate_is_good() -> None:
    """Once held, nothing is done again; gone too early it waits; then it is let go."""
    measures, told, marks = after(Measures(), [pause()], {}, NOW)
    assert (told, len(marks)) == (["hold"], 1)
    assert after(measures, [pause()], marks, NOW + 5 * HOLD_MS)[1] == []
    assert after(measures, [], marks, NOW + HOLD_MS - 1)[1] == []
    measures, told, marks = after(measures, [], marks, NOW + HOLD_MS)
    assert (told, marks, measures.held) == (["let_go"], {}, {})


def test_what_an_operator_lifted_is_not_held_again_while_it_lasts() -> None:
    """It is once the finding was gone and came back."""
    measures, _, _ = after(Measures(), [pause()], {}, NOW)
    measures, told, _ = after(measures, [pause()], {}, NOW + 1)
    assert told == ["overruled"]
    assert after(measures, [pause()], {}, NOW + 9 * HOLD_MS)[1] == []
    measures, told, _ = after(measures, [], {}, NOW + 9 * HOLD_MS)
    assert told == ["forget"]
    assert after(measures, [pause()], {}, NOW + 9 * HOLD_MS)[1] == ["hold"]


def test_only_bulk_is_held() -> None:
    """A password that doesn't arrive harms more than a rate."""
    assert next_measures(Measures(), [pause(stream="transactional")], {}, BULK, NOW) == []


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2 * HOLD_MS)), max_size=30))
def test_marks_and_measures_agree_whatever_happens(looks: list[tuple[bool, bool, int]]) -> None:
    """Findings come and go, operators lift: at most one mark stands, and it is the one that is kept."""
    measures, marks, now = Measures(), dict[int, str](), NOW
    for is_found, lifts, later in looks:
        now += later
        marks = {} if lifts else marks
        measures, _, marks = after(measures, [pause()] if is_found else [], marks, now)
        kept = [one.mark for one in measures.held.values() if isinstance(one, Held) and one.mark]
        assert kept == list(marks)
        assert len(marks) <= 1
