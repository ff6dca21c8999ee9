"""Both sides of a worker's socket, without the processes around them: what one does when the other misbehaves."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from mock_server.control import plane as control_plane
from mock_server.control.plane import ControlPlane
from mock_server.control.wire import (
    COMMAND_LIMIT_BYTES,
    Configure,
    Confirmed,
    Describe,
    Description,
    Desired,
    LedgerPage,
    ReadLedger,
    ResetBreakers,
    socket_path,
    write_desired,
)
from mock_server.control.worker import Commands, ControlSocket, Parts
from mock_server.control.workers import Workers
from mock_server.core.ledger import Entry, Ledger, Runs
from mock_server.errors import WorkerSilentError
from mock_server.services.consoul.connections import Connections
from mock_server.services.consoul.providers import Providers

OTHER_PID = 4_000_000


def create_socket(folder: Path, ledger: Ledger | None = None) -> tuple[Commands, ControlSocket]:
    parts = Parts(Providers({}), {}, ledger or Ledger(10), Connections())
    commands = Commands(parts, 0, time.monotonic)
    return commands, ControlSocket(commands, folder)


@contextmanager
def listening(folder: Path, answer: bytes | None) -> Iterator[None]:
    """A worker that accepts and, with `answer`, says that and closes; without, it says nothing."""
    with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor(1) as pool:
        server.bind(str(socket_path(folder, OTHER_PID)))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer or b"")

        served = None if answer is None else pool.submit(serve)
        yield
        if served is not None:
            served.result(timeout=5)


async def converse(path: Path, *lines: bytes) -> list[bytes]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.writelines(lines)
    writer.write_eof()
    answers = (await reader.read()).splitlines()
    writer.close()
    await writer.wait_closed()
    return answers


async def test_one_connection_carries_many_commands(tmp_path: Path) -> None:
    _, control = create_socket(tmp_path)
    line = msgspec.json.encode(ResetBreakers()) + b"\n"
    async with control:
        answers = await converse(socket_path(tmp_path, os.getpid()), *[line] * 50)
    assert answers == [msgspec.json.encode(Confirmed(0, 0))] * 50


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", b"refused"),
        (b"{\n", b"refused"),
        (b'{"type":"explode"}\n', b"explode"),
        (b'{"type":"configure","revision":"x"}\n', b"revision"),
        (b"x" * (COMMAND_LIMIT_BYTES * 2) + b"\n", b"65536 bytes"),
    ],
)
async def test_a_line_that_is_no_command_is_refused(tmp_path: Path, line: bytes, reason: bytes) -> None:
    commands, control = create_socket(tmp_path)
    async with control:
        (answer,) = await converse(socket_path(tmp_path, os.getpid()), line)
        assert b'"refused"' in answer
        assert reason in answer
        (after,) = await converse(socket_path(tmp_path, os.getpid()), msgspec.json.encode(ResetBreakers()) + b"\n")
    assert b'"confirmed"' in after
    assert commands.revision == 0


async def test_half_a_command_does_nothing(tmp_path: Path) -> None:
    commands, control = create_socket(tmp_path)
    async with control:
        assert await converse(socket_path(tmp_path, os.getpid()), msgspec.json.encode(Configure(1, {}))) == []
    assert commands.revision == 0


async def test_a_socket_left_behind_is_taken_over_and_its_own_is_removed(tmp_path: Path) -> None:
    path = socket_path(tmp_path, os.getpid())
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert Workers(tmp_path, dict).ask(lambda _: Describe(), Description, 1).given == {}
    _, control = create_socket(tmp_path)
    async with control:
        found = await asyncio.to_thread(Workers(tmp_path, dict).ask, lambda _: Describe(), Description, 5)
        assert [answer.worker for answer in found.given.values()] == [0]
    assert not path.exists()


async def test_a_worker_that_ends_does_not_wait_for_a_parent_that_says_nothing(tmp_path: Path) -> None:
    _, control = create_socket(tmp_path)
    async with control:
        reader, writer = await asyncio.open_unix_connection(socket_path(tmp_path, os.getpid()))
        writer.write(msgspec.json.encode(ResetBreakers()) + b"\n")
        assert await reader.readline()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()


async def test_a_worker_that_starts_takes_what_is_wanted_before_it_serves(tmp_path: Path) -> None:
    write_desired(tmp_path, Desired(7, {}))
    commands, control = create_socket(tmp_path)
    assert commands.revision == 0
    async with control:
        assert commands.revision == 7


async def test_a_page_larger_than_any_buffer_arrives_whole(tmp_path: Path) -> None:
    ledger = Ledger(400)
    runs = [(number / 100, 1) for number in range(1000)]
    for _ in range(400):
        ledger.record(Entry("r", "sse", "openai", "gpt-4", 1.0, 0.0, 0.01, 1000, sent_s=Runs(runs)))
    _, control = create_socket(tmp_path, ledger)
    async with control:
        command = ReadLedger(0, 400)
        found = await asyncio.to_thread(Workers(tmp_path, dict).ask, lambda _: command, LedgerPage, 10)
    (page,) = found.given.values()
    assert len(page.entries) == 400
    assert all(len(msgspec.json.decode(raw)["entry"]["sent_s"]) == 1000 for raw in page.entries)


def test_a_silent_worker_makes_the_ledger_refuse_rather_than_be_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_plane, "READ_WITHIN_S", 0.2)
    plane = ControlPlane(Workers(tmp_path, lambda: {3: OTHER_PID}), {})
    with listening(tmp_path, None), pytest.raises(WorkerSilentError) as caught:
        plane.read_ledger("")
    assert caught.value.message.startswith(f"worker 3 (pid {OTHER_PID}): no answer within 0.2 s")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_could_not_even_be_asked_has_not_done_it(tmp_path: Path) -> None:
    def fail(pid: int) -> Describe:
        raise RuntimeError(pid)

    with listening(tmp_path, None):
        answers = Workers(tmp_path, dict).ask(fail, Description, 1)
    assert (answers.given, answers.silent) == ({}, {OTHER_PID: "it could not be asked"})


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b'{"type":"refused","reason":"no such thing"}\n', "silent"),
        (b'{"type":"confirmed","worker":0,"revision":0}\n', "silent"),
        (b"not json\n", "silent"),
        (b'{"type":"confirmed"', "gone"),
        (b"", "gone"),
    ],
)
def test_a_wrong_answer_is_no_answer(tmp_path: Path, answer: bytes, status: str) -> None:
    plane = ControlPlane(Workers(tmp_path, dict), {})
    with listening(tmp_path, answer):
        listed = plane.list_workers()["workers"]
    assert [entry["status"] for entry in listed] == ([status] if status == "silent" else [])
