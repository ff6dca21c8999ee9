"""The caller: which clock a request is timed on, how its answer is judged, and that it is counted once."""

import dataclasses
from typing import Any

import pytest

from loadtests.engine import behaviour
from loadtests.engine.answers import Answer
from loadtests.engine.behaviour import Caller, Request, Setup, create_behaviour
from loadtests.engine.http import TransportError
from loadtests.engine.recorder import Cell, Recorder
from loadtests.errors import UsageError
from loadtests.model import Profile
from loadtests.schedule import Schedule
from loadtests.users.chat import Chat

T0_S = 1000.0


class World:
    """A clock, and a target that takes 0.25 s and answers what it is told."""

    def __init__(self) -> None:
        self.now_s = T0_S
        self.answer: Answer | BaseException = answer(200)

    def clock(self) -> float:
        return self.now_s

    def exchange(self, request: bytes) -> Answer:
        self.now_s += 0.25
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def close(self) -> None:
        return


def answer(status: int, body: bytes = b"{}", fault: bytes = b"") -> Answer:
    head = b"HTTP/1.1 %d X\r\n" % status + (b"X-Mock-Fault: " + fault + b"\r\n" if fault else b"")
    return Answer(status, head, body, 50, reusable=True)


def check(given: Answer) -> str | None:
    return None if given.body == b"{}" else "not what was asked for"


def profile(**keys: Any) -> Profile:
    stages = [{"name": "a", "duration": 1, "users": 1}, {"name": "b", "duration": 1, "users": 1}]
    base = {"name": "trial", "description": "for a test", "stack": "consoul", "stages": stages, "mix": {"chat": 1}}
    return Profile.model_validate(base | keys)


class Scene:
    """A caller of a profile in a world."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **keys: Any) -> None:
        self.world = World()
        monkeypatch.setattr(behaviour, "create_client", lambda endpoint, timeout_s: self.world)
        trial = profile(**keys)
        setup = Setup(trial, {"consoul": "http://127.0.0.1:1"}, "ab", None)
        self.request = setup.declare("consoul", "POST", "/x", check)
        self.recorder = Recorder(["a", "b"], ["POST /x"], lambda moments_s: moments_s * 0)
        self.caller = Caller(1, setup, self.recorder, Schedule.of(trial), self.world.clock, T0_S)

    def send(self, planned_s: float | None = T0_S) -> Cell:
        if planned_s is not None:
            self.recorder.scheduled[0] += 1
            self.caller.begin(planned_s, 0)
        self.caller.send(self.request, b"body")
        return self.recorder.flush().cells[0]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def seconds(cell: Cell, name: str) -> float:
    from loadtests.engine.histogram import bucket_seconds

    return float(bucket_seconds(getattr(cell, name).nonzero()[0])[0])


def test_open_latency_runs_from_the_plan_and_closed_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Scene(monkeypatch, stages=[{"name": "a", "duration": 9, "rate": 1}])
    cell = opened.send(planned_s=T0_S - 0.5)
    assert seconds(cell, "latency") == pytest.approx(0.75, rel=1e-3)
    assert seconds(cell, "service_time") == pytest.approx(0.25, rel=1e-3)
    cell = Scene(monkeypatch).send(planned_s=T0_S - 0.5)
    assert seconds(cell, "latency") == seconds(cell, "service_time") == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "counts", "failures"),
    [
        (answer(200), (1, 0, 0), {}),
        (answer(200, b"x"), (0, 0, 1), {("wrong_body", "not what was asked for"): 1}),
        (answer(500), (0, 0, 1), {("wrong_status", "status 500"): 1}),
        (answer(429), (1, 1, 0), {}),
        (answer(429, fault=b"rate"), (0, 0, 1), {("injected", "rate (status 429)"): 1}),
        (answer(503, fault=b"error"), (0, 0, 1), {("injected", "error (status 503)"): 1}),
        (answer(200, fault=b"slow"), (1, 0, 0), {}),
        (
            TransportError("timeout", "no whole answer within 30 s"),
            (0, 0, 1),
            {("timeout", "no whole answer within 30 s"): 1},
        ),
        (TransportError("connection", "refused"), (0, 0, 1), {("connection", "refused"): 1}),
    ],
)
def test_judgement(
    monkeypatch: pytest.MonkeyPatch,
    given: Answer | BaseException,
    counts: tuple[int, int, int],
    failures: dict[tuple[str, str], int],
) -> None:
    scene = Scene(monkeypatch, expected=[429])
    scene.world.answer = given
    cell = scene.send()
    assert (cell.finished, cell.refused, cell.failed) == counts
    assert dict(cell.failures) == failures
    assert scene.recorder.in_flight == 0


def test_a_check_that_breaks_leaves_a_ledger_that_balances(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Answer) -> str | None:
        raise ZeroDivisionError

    scene = Scene(monkeypatch)
    scene.request = dataclasses.replace(scene.request, check=broken)
    with pytest.raises(ZeroDivisionError):
        scene.send()
    delta = scene.recorder.flush().stages["a"]
    assert (delta.started, delta.cut_off, delta.requests) == (1, 1, {})
    assert scene.recorder.in_flight == 0


def test_a_killed_request_is_cut_off_and_the_exception_goes_on(scene: Scene) -> None:
    scene.world.answer = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        scene.send()
    delta = scene.recorder.flush().stages["a"]
    assert (delta.started, delta.cut_off, scene.recorder.in_flight) == (1, 1, 0)


def test_an_iteration_that_sent_nothing_is_cut_off_once(scene: Scene) -> None:
    scene.recorder.scheduled[0] += 1
    scene.caller.begin(T0_S, 0)
    scene.caller.cut()
    scene.caller.cut()
    delta = scene.recorder.flush().stages["a"]
    assert (delta.scheduled, delta.started, delta.cut_off) == (1, 1, 1)


def test_a_further_request_of_an_iteration_counts_itself_in_the_stage_of_its_moment(scene: Scene) -> None:
    scene.send()
    scene.world.now_s = T0_S + 1.5
    scene.send(planned_s=None)
    assert scene.caller.stage == 1
    scene.recorder.scheduled[1] = 0
    assert scene.recorder.in_flight == 0


def test_a_behaviour_is_found_by_the_stem_of_its_file() -> None:
    setup = Setup(profile(), {"consoul": "http://127.0.0.1:1"}, "ab", None)
    assert isinstance(create_behaviour("chat", setup), Chat)


def test_what_cannot_be_sent_is_refused_before_any_load() -> None:
    with pytest.raises(UsageError, match="API_KEY"):
        Chat(Setup(profile(), {"consoul": "http://127.0.0.1:1"}, "ab", "key\r\nX-Evil: 1"))
    with pytest.raises(UsageError, match="want 'consoul' among them"):
        Chat(Setup(profile(), {"gateway": "http://127.0.0.1:1"}, "ab", None))


def test_requests_know_their_name() -> None:
    setup = Setup(profile(), {"consoul": "http://127.0.0.1:1"}, "ab", None)
    request: Request = setup.declare("consoul", "GET", "/health", check)
    assert (request.index, request.name, request.success) == (0, "GET /health", 200)
