"""Figures of `bench autoscale` from what was seen, and how they are drawn."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bench.autoscale_watch import NodesSeen, Step, Watch, WorkersSeen, figures, timeline
from bench.frame import Report, Result
from bench.page import page
from bench.timeline import Line, Panel, Timeline, draw

FOUND = {"lost": 0, "duplicates": 1}


def _watch() -> Watch:
    """One worker does 100 a second; from 20 s on 400 are given, from 26 s on four workers do 380 until 60 s."""
    watch = Watch()
    watch.steps = [
        Step("alone", 0.0, 200.0, 10.0, 20.0),
        Step("1x", 20.0, 80.0, 30.0),
        Step("4x", 30.0, 320.0, 70.0),
        Step("1x again", 70.0, 80.0, 80.0),
        Step("throttled", 80.0, 80.0, 90.0),
    ]
    for step in watch.steps:
        number = int((step.end - step.begin) * step.per_s)
        watch.given += [step.begin + n / step.per_s for n in range(number)]
    free = 0.0
    for given in watch.given:
        per_s = 380.0 if 36.0 <= max(given, free) < 70.0 else 100.0
        free = max(given, free) + 1 / per_s
        watch.accepted.append(free)
        watch.took.append((free, free - given))
    for n in range(4 * 95):
        at = n / 4
        wanted = 1 if at < 32 else 4 if at < 75 else 3
        nodes = 1 if at < 34.5 else 4 if at < 77 else 3
        watch.nodes.append(NodesSeen(at, nodes, wanted, nodes, 1.5, 1.0))
    for n in range(95):
        watch.seen.append(WorkersSeen(float(n), 4 if 35 <= n < 75 else 1, 3 if n == 34 else 0, 0.1))
    watch.connections = 20
    return watch


def test_ray_reads_the_configuration_of_the_fake_nodes() -> None:
    """Its own reader takes it; nothing of the example that the wheel lacks is wanted."""
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

    from bench.fake_nodes import FakeNodes

    nodes = FakeNodes(4, idle_s=3.0)
    try:
        read = AutoscalingConfig(nodes.config, skip_content_hash=True)
        kinds = read.get_node_type_configs()
        assert kinds["worker"].max_worker_nodes == 4
        assert kinds["worker"].resources["CPU"] == 1
        assert read.get_idle_timeout_s() == pytest.approx(3.0)
        assert nodes.pids() == []
    finally:
        nodes.shutdown()
    assert not nodes.folder.exists()


def _by_name(results: list[Result]) -> dict[str, Result]:
    return {one.name: one for one in results}


def test_efficiency_is_what_four_get_done_while_all_have_something_to_send() -> None:
    found = _by_name(figures(_watch(), 4, FOUND))
    assert found["mails_1_node"].value == pytest.approx(100, rel=0.02)
    assert found["mails_4_nodes"].value == pytest.approx(380, rel=0.02)
    assert found["efficiency_4_nodes"].value == pytest.approx(0.95, rel=0.02)
    assert found["measured_4_nodes"].value > 5
    assert (found["lost"].value, found["duplicates"].value) == (0, 1)


def test_how_busy_the_machine_was_is_told_of_the_time_in_which_all_worked() -> None:
    watch = _watch()
    assert watch.busy(4) == pytest.approx(1.5 / (os.cpu_count() or 1))
    assert watch.busy(9) == 0.0


def test_capacity_is_reached_when_as_much_is_accepted_as_is_given() -> None:
    found = _by_name(figures(_watch(), 4, FOUND))
    assert 5 <= found["seconds_to_capacity"].value <= 6.2
    assert found["node_start"].value == pytest.approx(2.5, abs=0.3)
    assert found["seconds_to_capacity"].ceiling == pytest.approx(7.5, abs=0.3)


def test_never_is_the_whole_step_and_no_efficiency() -> None:
    watch = _watch()
    watch.accepted = [at for at in watch.accepted if at < 30]
    watch.seen = [one for one in watch.seen if one.at < 30]
    found = _by_name(figures(watch, 4, FOUND))
    assert found["seconds_to_capacity"].value == 40
    assert found["efficiency_4_nodes"].value == 0


def test_a_node_that_comes_or_is_asked_for_while_a_provider_throttles_counts() -> None:
    watch = _watch()
    assert _by_name(figures(watch, 4, FOUND))["nodes_added_by_throttle"].value == 0
    watch.nodes = [
        msgspec.structs.replace(one, wanted=5) if 84 <= one.at < 86 else one for one in watch.nodes
    ]
    assert _by_name(figures(watch, 4, FOUND))["nodes_added_by_throttle"].value == 2


def test_what_the_twin_took_is_read_and_matched(tmp_path: Path) -> None:
    watch = Watch()
    watch.gave(range(3))
    lines = [{"forward_path": f"c{n}@x.example", "at": watch.wall_ms + 500 + n} for n in (2, 0, 7)]
    file = tmp_path / "received.ndjson"
    file.write_bytes(b"\n".join(msgspec.json.encode(line) for line in lines))
    watch.read(file, lambda n: f"c{n}@x.example")
    assert watch.accepted == [0.5, 0.502], "what the bench didn't give by number isn't among them"


def test_the_page_draws_what_was_seen_over_time() -> None:
    seen = timeline(_watch())
    report = Report("autoscale", figures(_watch(), 4, FOUND), {}, {}, {}, {}, seen)
    text = page([report], datetime.now(UTC))
    for word in ("offered", "accepted by the twin", "nodes", "workers", "oldest in queue", "p99"):
        assert word in text
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert b"timeline" not in msgspec.json.encode(Report("x", [], {}, {}, {}, {}))


def test_a_line_breaks_where_there_is_no_value_and_steps_stay_level() -> None:
    line = Line("a", "plain", [1.0, None, 2.0, 4.0], steps=True)
    text = draw(Timeline([0.0, 1.0, 2.0, 3.0], [Panel("p", [line])], [(1.0, "begun")]), 400)
    path = next(part for part in text.split('d="') if part.startswith("M48.0") and "H3" in part)
    assert path.split('"')[0].count("M") == 2
    assert "begun" in text
