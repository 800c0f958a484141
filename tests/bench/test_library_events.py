"""The events of case `scenarios` are those that the library listens to, and move its journeys."""

from __future__ import annotations

from pathlib import Path

from bench.library_events import EventMaker, endpoints_of, library
from bench.scenarios import Settings, _Alone, deployment


def test_every_event_is_one_that_the_library_names_and_two_runs_agree() -> None:
    texts = library()
    assert len(texts) >= 10
    made = EventMaker(50, 7).make(2_000)
    assert made == EventMaker(50, 7).make(2_000)
    for name in {event.name for _, event in made}:
        assert any(name in text for text in texts.values()), name


def test_the_machine_alone_makes_transitions() -> None:
    alone = _Alone(Settings(contacts=50, rounds=1, seconds=0.0, traced=0), 7)
    moved, cpu_s = alone._run(500)
    assert moved > 100
    assert cpu_s > 0


def test_the_library_is_published_with_the_endpoints_that_it_calls(tmp_path: Path) -> None:
    assert endpoints_of(library()) == ("sales",)
    (tenant,) = deployment(tmp_path).tenant
    assert set(tenant.endpoint) == {"sales"}
