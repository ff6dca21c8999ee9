"""When a worker that ends may go, told by a clock moved by hand and connections that are none."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from uvicorn.server import ServerState

from mock_server.core.draining import Draining
from mock_server.parent.draining import IDLE_S, LONGEST_DRAIN_S, Drain, without_unread_data
from mock_server.protocol.http import ConsoulHttpProtocol, Stage


class Task:
    """As much of a task as a drain looks at."""

    def __init__(self) -> None:
        self.has_ended = False

    def done(self) -> bool:
        return self.has_ended


class Connection(ConsoulHttpProtocol):
    """An HTTP connection with a real socket and nothing behind it."""

    def __init__(self, is_busy: bool, sock: socket.socket):
        self._stage = Stage.BETWEEN
        self.is_told = False
        self.cycle = type("Cycle", (), {"response_complete": not is_busy})()
        self.transport = type("Transport", (), {"get_extra_info": lambda self, name: sock})()

    def shutdown(self) -> None:
        self.is_told = True


class WebSocket:
    def __init__(self) -> None:
        self.is_told = False

    def shutdown(self) -> None:
        self.is_told = True


@dataclass
class Listener:
    is_closed: bool = False

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Worker:
    """Everything a drain sees of a server."""

    pair: tuple[socket.socket, socket.socket]
    draining: Draining = field(default_factory=Draining)
    state: Any = field(default_factory=ServerState)
    listener: Any = field(default_factory=Listener)

    def drain(self) -> Drain:
        return Drain(self.draining, self.state, [self.listener], 100.0)

    def connect(self, *, is_busy: bool) -> Connection:
        connection = Connection(is_busy, self.pair[0])
        self.state.connections.add(connection)
        return connection


@pytest.fixture
def worker() -> Iterator[Worker]:
    pair = socket.socketpair()
    yield Worker(pair)
    for sock in pair:
        sock.close()


def test_stopping_goes_on_accepting_until_what_was_in_flight_has_ended(worker: Worker) -> None:
    task, later = Task(), Task()
    worker.state.tasks.add(task)
    busy, idle = worker.connect(is_busy=True), worker.connect(is_busy=False)
    websocket = WebSocket()
    worker.state.connections.add(websocket)
    worker.draining.begin("stop")
    drain = worker.drain()
    assert not drain.is_over(100.1)
    assert [busy.is_told, idle.is_told, websocket.is_told, worker.listener.is_closed] == [True, False, True, False]
    worker.state.tasks.add(later)
    task.has_ended = True
    assert drain.is_over(101.0), "what came later is refused, and may not hold the worker for ever"


def test_nothing_holds_a_worker_longer_than_it_may(worker: Worker) -> None:
    worker.state.tasks.add(Task())
    for phase in ("replace", "stop"):
        worker.draining.begin(phase)
        drain = worker.drain()
        assert not drain.is_over(100.0 + LONGEST_DRAIN_S - 0.1)
        assert drain.is_over(100.0 + LONGEST_DRAIN_S)


def test_being_replaced_stops_accepting_at_once_and_waits_for_each_idle_connection(worker: Worker) -> None:
    busy, idle = worker.connect(is_busy=True), worker.connect(is_busy=False)
    worker.draining.begin("replace")
    drain = worker.drain()
    assert not drain.is_over(100.0)
    assert [busy.is_told, idle.is_told, worker.listener.is_closed] == [True, False, True]
    told = []
    for now_s in (100.0 + IDLE_S - 0.1, 100.0 + IDLE_S):
        assert not drain.is_over(now_s)
        told.append(idle.is_told)
    assert told == [False, True]
    worker.state.connections.clear()
    assert drain.is_over(106.0)


def test_an_idle_connection_on_which_something_arrived_is_not_closed(worker: Worker) -> None:
    idle = worker.connect(is_busy=False)
    worker.draining.begin("replace")
    drain = worker.drain()
    worker.pair[1].send(b"GET / HTTP/1.1\r\n")
    told = []
    for now_s in (110.0, 110.1):
        assert not drain.is_over(now_s)
        told.append(idle.is_told)
        if not idle.is_told:
            worker.pair[0].recv(100)
    assert told == [False, True]


def test_a_connection_on_which_half_a_request_has_come_is_not_idle(worker: Worker) -> None:
    connection = worker.connect(is_busy=False)
    connection._stage = Stage.HEAD
    worker.draining.begin("replace")
    assert not worker.drain().is_over(110.0)
    assert not connection.is_told


def test_a_connection_without_its_socket_is_left_to_itself() -> None:
    sock = socket.socket()
    sock.close()
    assert without_unread_data([Connection(False, sock)]) == []


def test_a_replaced_worker_that_is_told_to_stop_no_longer_waits_for_idle_connections(worker: Worker) -> None:
    worker.connect(is_busy=False)
    worker.draining.begin("replace")
    drain = worker.drain()
    assert not drain.is_over(100.1)
    worker.draining.begin("stop")
    assert drain.is_over(100.2)


async def test_real_tasks_are_waited_for(worker: Worker) -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    worker.state.tasks.add(task)
    worker.draining.begin("stop")
    drain = worker.drain()
    assert not drain.is_over(100.1)
    await task
    assert drain.is_over(100.2)
