"""The dispatcher on a clock of its own: nothing skipped, nothing doubled, drops counted, the end drained."""

from collections import Counter
from typing import Any

import gevent
import pytest
from gevent.event import Event

from loadtests.engine.behaviour import Behaviour, Caller
from loadtests.engine.dispatcher import Dispatcher
from loadtests.engine.recorder import Outcome, Recorder
from loadtests.model import Profile
from loadtests.schedule import Schedule
from loadtests.wire import Arrivals


class World:
    """Time that moves only when the dispatcher waits; the loop turns each time."""

    def __init__(self) -> None:
        self.now_s = 500.0

    def clock(self) -> float:
        return self.now_s

    def wait_until(self, at_s: float) -> None:
        gevent.sleep(0)
        self.now_s = max(self.now_s, at_s)
        gevent.sleep(0)

    def close(self) -> None:
        return


class Client(Caller):
    """A caller that records an end without sending anything."""

    def __init__(self, number: int, recorder: Recorder) -> None:
        self.number, self.iteration, self.stage, self.planned_s = number, 0, 0, None
        self._recorder = recorder

    def end(self) -> None:
        self.planned_s = None
        self._recorder.end(self.stage, 0, 0.1, 0.1, 0.0, 0.0, 200, 1, 1, Outcome.OK)

    def cut_in_flight(self) -> None:
        self._recorder.cut(self.stage, 0.0)

    def close(self) -> None:
        return


class Script(Behaviour):
    """Does what a test says; remembers the planned moment and the client of each iteration."""

    def __init__(self, act: Any) -> None:
        self._act = act
        self.planned_s: list[float] = []
        self.numbers: list[int] = []

    def iterate(self, caller: Caller) -> None:
        assert isinstance(caller, Client)
        assert caller.planned_s is not None
        self.planned_s.append(caller.planned_s)
        self.numbers.append(caller.number)
        self._act(caller)


class Scene:
    """A dispatcher on a profile of one open stage of 10 s at 20/s, unless told otherwise."""

    def __init__(self, act: Any = Client.end, others: dict[str, Behaviour] | None = None, **keys: Any) -> None:
        base = {"name": "trial", "description": "for a test", "stack": "consoul", "mix": {"chat": 1}}
        stages = [{"name": "hold", "duration": 10, "rate": 20}]
        profile = Profile.model_validate(base | {"stages": stages, "max_in_flight": 5} | keys)
        self.world, self.script = World(), Script(act)
        self.recorder = Recorder([stage.name for stage in profile.stages], ["x"], lambda moments_s: moments_s * 0)
        self.errors: list[Exception] = []
        self.arrivals: list[Arrivals] = []
        self.dispatcher = Dispatcher(
            profile,
            Schedule.of(profile),
            self.recorder,
            {"chat": self.script} | (others or {}),
            lambda number: Client(number, self.recorder),
            self.world.clock,
            self.world,
            self.errors.append,
            self.arrivals.append,
        )

    def run(self) -> Counter[str]:
        self.dispatcher.run(t0_s=500.0)
        return self.ledger()

    def ledger(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for delta in self.recorder.flush().stages.values():
            for name in ("scheduled", "started", "dropped", "cut_off"):
                total[name] += getattr(delta, name)
            total.update(finished=sum(request.finished for request in delta.requests.values()))
        assert total["scheduled"] == total["started"] + total["dropped"]
        assert total["started"] == total["finished"] + total["cut_off"]
        return total


def test_every_arrival_is_started_at_its_moment_on_one_connection_when_answers_are_quick() -> None:
    scene = Scene()
    assert scene.run() == Counter(scheduled=200, started=200, finished=200, dropped=0, cut_off=0)
    assert scene.script.planned_s == sorted(scene.script.planned_s)
    assert 500 <= scene.script.planned_s[0] < scene.script.planned_s[-1] <= 510
    assert set(scene.script.numbers) == {1}
    assert scene.world.now_s >= 510
    assert [(seen.stage, seen.count) for seen in scene.arrivals] == [("hold", 200)]


def test_beyond_max_in_flight_arrivals_are_dropped_and_the_rest_is_cut_off_at_the_end() -> None:
    def hang(client: Client) -> None:
        client.planned_s = None
        try:
            Event().wait()
        except gevent.GreenletExit:
            client.cut_in_flight()
            raise

    scene = Scene(hang, timeout="10ms")
    scene.dispatcher._drain = lambda: None  # type: ignore[method-assign]
    assert scene.run() == Counter(scheduled=200, started=5, dropped=195, cut_off=5, finished=0)
    assert scene.recorder.in_flight == 0


def test_a_burst_that_is_overdue_is_started_whole() -> None:
    scene = Scene()
    scene.world.now_s = 600.0
    total = scene.run()
    assert total["scheduled"] == 200
    assert total["started"] + total["dropped"] == 200
    assert total["started"] >= 5


def test_a_behaviour_that_raises_is_reported_and_its_iteration_cut_off() -> None:
    def fail(client: Client) -> None:
        raise ZeroDivisionError("a bug")

    scene = Scene(fail)
    assert scene.run() == Counter(scheduled=200, started=200, cut_off=200, dropped=0, finished=0)
    assert len(scene.errors) == 200


def test_stopping_ends_between_two_arrivals() -> None:
    def stop_at_third(client: Client) -> None:
        client.end()
        if len(scene.script.planned_s) == 3:
            scene.dispatcher.is_stopping = True

    scene = Scene(stop_at_third)
    total = scene.run()
    assert total["scheduled"] == total["finished"] == 3
    assert scene.arrivals == []


def test_the_mix_is_kept() -> None:
    other = Script(Client.end)
    scene = Scene(
        mix={"chat": 3, "other": 1}, others={"other": other}, stages=[{"name": "a", "duration": 10, "rate": 400}]
    )
    scene.run()
    assert len(scene.script.planned_s) + len(other.planned_s) == 4000
    assert len(other.planned_s) == pytest.approx(1000, rel=0.1)


def test_stages_follow_one_another_without_a_gap_in_the_ledger() -> None:
    stages = [{"name": "up", "duration": 5, "rate": 100, "ramp": 5}, {"name": "hold", "duration": 5, "rate": 100}]
    scene = Scene(stages=stages)
    scene.dispatcher.run(t0_s=500.0)
    flushed = scene.recorder.flush().stages
    assert {name: delta.scheduled for name, delta in flushed.items()} == {"up": 250, "hold": 500}


def test_an_iteration_assigned_but_not_begun_when_all_ends_is_cut_off() -> None:
    scene = Scene()
    scene.world.now_s = 600.0
    calls = iter(range(1000))

    def clock() -> float:
        if next(calls) == 3:
            scene.dispatcher.is_stopping = True
        return 600.0

    scene.dispatcher._clock = clock
    total = scene.run()
    assert total["cut_off"] == total["started"] == 3
    assert scene.script.planned_s == []
    assert scene.recorder.in_flight == 0
