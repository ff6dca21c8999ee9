"""What a run records of the target's own count: its growth, or why there is none."""

import queue
from pathlib import Path
from typing import Any

import pytest

from loadtests.results.fold import Tally
from loadtests.results.store import RunFolder
from loadtests.run import recording as module
from loadtests.run.recording import REQUESTS, Recording
from loadtests.run.target import resolve_target
from loadtests.wire import Ended, Started
from tests.unit.loadtests.results.simulation import STARTED_UNIX, build_plan

TARGET = resolve_target("consoul", {}, None)


class Generator:
    """A generator that starts, and ends at once."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
        for message in (Started(STARTED_UNIX, 1, {}), Ended(0.0, "completed"), None):
            self.messages.put(message)

    def kill(self) -> None:
        return


def record(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    begin: dict[str, float],
    during: list[dict[str, float]],
    end: dict[str, float],
) -> Recording:
    class Scraper:
        def __init__(self, _urls: object, _sources: object, deliver: Any) -> None:
            self._deliver = deliver

        def start(self) -> None:
            for second, sample in enumerate(during):
                self._deliver(STARTED_UNIX + second, sample)

        def stop(self) -> None:
            return

    monkeypatch.setattr(module, "Scraper", Scraper)
    monkeypatch.setattr(module, "scrape", lambda *_: end)
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    tally = Tally(build_plan())
    recording = Recording(tally, RunFolder.create(root, tally.plan), Generator(), TARGET, begin)  # type: ignore[arg-type]
    recording.follow(lambda: None)
    return recording


@pytest.mark.parametrize(
    ("begin", "during", "end", "growth", "why"),
    [
        ({REQUESTS: 40.0}, [41, 60], {REQUESTS: 100.0}, 60, ""),
        ({"in_flight": 0.0}, [60], {REQUESTS: 100.0}, 100, ""),
        ({REQUESTS: 40.0}, [90, 5], {REQUESTS: 100.0}, None, "it was restarted"),
        ({REQUESTS: 40.0}, [90], {REQUESTS: 80.0}, None, "it was restarted"),
        ({}, [90], {REQUESTS: 80.0}, None, "not read before the run"),
        ({REQUESTS: 40.0}, [90], {}, None, "not read after the run"),
    ],
)
def test_growth_of_the_count_is_said_only_where_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    begin: dict[str, float],
    during: list[int],
    end: dict[str, float],
    growth: int | None,
    why: str,
) -> None:
    samples = [{REQUESTS: float(counted)} for counted in during]
    recording = record(monkeypatch, tmp_path, begin, samples, end)
    assert recording.growth_of(REQUESTS) == growth
    assert why in recording.why_not_counted
    assert bool(why) == bool(recording.why_not_counted)


def test_an_instance_that_was_restarted_is_noticed_although_the_others_grew_by_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def sample(first: float, second: float) -> dict[str, float]:
        return {REQUESTS: first + second, f"{REQUESTS}@0": first, f"{REQUESTS}@1": second}

    sound = record(monkeypatch, tmp_path / "a", sample(10, 10), [sample(20, 11)], sample(30, 30))
    assert (sound.growth_of(REQUESTS), sound.why_not_counted) == (40, "")

    restarted = record(monkeypatch, tmp_path / "b", sample(10, 10), [sample(90, 2)], sample(99, 9))
    assert restarted.growth_of(REQUESTS) is None
    assert "it was restarted" in restarted.why_not_counted
