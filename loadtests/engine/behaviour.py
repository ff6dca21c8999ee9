"""What a client does, apart from when it does it: the base of `users/`, and the caller that times its requests."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from loadtests.engine.answers import Answer
from loadtests.engine.http import Client, Endpoint, TransportError, create_client, render_request
from loadtests.engine.recorder import Outcome, Recorder
from loadtests.engine.sessions import create_session_ids
from loadtests.errors import UsageError
from loadtests.model import Profile
from loadtests.schedule import Schedule
from loadtests.wire import FailureKind

Check = Callable[[Answer], str | None]
_FAULT_HEADER = b"x-mock-fault"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as declared once; `check` says what is wrong with a successful answer's body, None if nothing."""

    index: int
    name: str
    service: str
    head: bytes
    success: int
    check: Check


class Setup:
    """What a behaviour is made from: the profile, where its services are, and who it is to them."""

    def __init__(self, profile: Profile, targets: dict[str, str], short_id: str, api_key: str | None) -> None:
        """Raises UsageError for an address that cannot be looked up or a key that cannot be sent."""
        self.profile = profile
        self.session_id = create_session_ids(profile.sessions, short_id)
        self.requests: list[Request] = []
        self._api_key = api_key
        try:
            self.endpoints = {service: Endpoint(url) for service, url in targets.items()}
        except OSError as error:
            raise UsageError(f"target {targets}: {error.strerror}") from error

    def declare(self, service: str, method: str, path: str, check: Check, success: int = 200) -> Request:
        """Registers a request of JSON under the name `METHOD path`; `service` is a key of the targets."""
        if service not in self.endpoints:
            raise UsageError(f"targets: got {', '.join(self.endpoints)}, want {service!r} among them")
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._api_key:
            headers["X-API-Key"] = self._api_key
        try:
            head = self.endpoints[service].render_head(method, path, headers)
        except ValueError:
            raise UsageError("API_KEY: got characters that a header cannot hold, want one line of Latin-1") from None
        request = Request(len(self.requests), f"{method} {path}", service, head, success, check)
        self.requests.append(request)
        return request


class Behaviour(ABC):
    """One kind of client. A file of `users/` holds one subclass; the profile names it by the file's stem."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @abstractmethod
    def iterate(self, caller: "Caller") -> None:
        """One iteration: one or more `caller.send`; think time and arrivals are not its business."""


def create_behaviour(name: str, setup: Setup) -> Behaviour:
    """The behaviour of `loadtests/users/<name>.py`: the one subclass of Behaviour that module defines."""
    module = importlib.import_module(f"loadtests.users.{name}")
    found = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Behaviour) and thing.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise UsageError(f"loadtests/users/{name}.py: holds {len(found)} subclasses of Behaviour, want exactly one")
    kind: type[Behaviour] = found[0]
    return kind(setup)


class Caller:
    """One client with its own connections: sends requests and records each with its times and its outcome.

    Whoever drives it counts an iteration's first request as scheduled and started, and sets `planned_s` (on the clock
    given) and `stage`; further requests of the same iteration count themselves.
    """

    def __init__(
        self,
        number: int,
        setup: Setup,
        recorder: Recorder,
        schedule: Schedule,
        clock: Callable[[], float],
        t0_s: float,
    ) -> None:
        self.number = number
        self.iteration = 0
        self.stage = 0
        self.planned_s: float | None = None
        self._setup = setup
        self._recorder = recorder
        self._schedule = schedule
        self._clock = clock
        self._t0_s = t0_s
        self._is_open = schedule.is_open
        self._expected = frozenset(setup.profile.expected)
        self._clients: dict[str, Client] = {}

    def begin(self, planned_s: float, stage: int) -> None:
        """Starts an iteration: its first request is now started, as far as the ledger is concerned."""
        self.iteration += 1
        self.planned_s, self.stage = planned_s, stage
        self._recorder.started[stage] += 1
        self._recorder.in_flight += 1

    def cut(self) -> None:
        """Counts a request that was begun and never sent as cut off; nothing when there is none."""
        if self.planned_s is not None:
            self.planned_s = None
            self._recorder.cut(self.stage, 0.0)

    def send(self, request: Request, body: bytes) -> Answer | None:
        """Sends a request and records how it ended; None when no whole answer came."""
        clock, recorder = self._clock, self._recorder
        started_s = clock()
        planned_s, self.planned_s = self.planned_s, None
        if planned_s is None:
            planned_s = started_s
            self._count_follow_up(started_s)
        late_s = started_s - planned_s
        intended_s = planned_s if self._is_open else started_s
        payload = render_request(request.head, body)
        answer: Answer | None = None
        try:
            client = self._clients.get(request.service) or self._connect(request.service)
            answer = client.exchange(payload)
            ended_s = clock()
            outcome = self._judge(request, answer)
        except TransportError as error:
            ended_s = clock()
            outcome = Outcome.TIMED_OUT if error.kind == "timeout" else Outcome.NO_ANSWER
            recorder.explain(self.stage, request.index, error.kind, str(error))
        except BaseException:
            # Killed, or a check of ours that broke: the ledger must balance even so.
            recorder.cut(self.stage, late_s)
            raise
        recorder.end(
            self.stage,
            request.index,
            ended_s - intended_s,
            ended_s - started_s,
            late_s,
            ended_s,
            answer.status if answer else 0,
            len(payload),
            answer.received if answer else 0,
            outcome,
        )
        return answer

    def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            client.close()

    def _judge(self, request: Request, answer: Answer) -> Outcome:
        if answer.status == request.success:
            problem = request.check(answer)
            if problem is None:
                return Outcome.OK
            kind: FailureKind = "wrong_body"
        else:
            problem, kind = f"status {answer.status}", "wrong_status"
        fault = answer.header(_FAULT_HEADER)
        if fault is not None:
            problem, kind = f"{fault.decode('latin-1')} ({problem})", "injected"
        elif answer.status in self._expected:
            return Outcome.REFUSED
        self._recorder.explain(self.stage, request.index, kind, problem)
        return Outcome.FAILED

    def _count_follow_up(self, started_s: float) -> None:
        window = self._schedule.window_at(started_s - self._t0_s)
        if window is not None:
            self.stage = window.index
        self._recorder.scheduled[self.stage] += 1
        self._recorder.started[self.stage] += 1
        self._recorder.in_flight += 1

    def _connect(self, service: str) -> Client:
        client = create_client(self._setup.endpoints[service], self._setup.profile.timeout_s)
        self._clients[service] = client
        return client
