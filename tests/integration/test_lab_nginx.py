"""nginx for real, with the lab's configuration, before servers that show byte by byte what reaches them and when."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from mock_server.lab.nginx import BODY_MARGIN_BYTES, build_command, build_proxy, render_config

HOST = "127.0.0.1"
DEADLINE_S = 20.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
START = "POST /chat HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def binary() -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        how = "nginx is not installed; on Debian: apt-get install nginx"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def run_nginx(binary: str, folder: Path, upstreams: list[int], **variables: str) -> AsyncIterator[int]:
    """nginx before servers on these ports; gives its own."""
    port, home = free_port(), folder / "an nginx"
    home.mkdir()
    user = pwd.getpwuid(0).pw_name if os.geteuid() == 0 else None
    places = [f"{HOST}:{upstream}" for upstream in upstreams]
    proxy = build_proxy(f"{HOST}:{port}", places, variables, processors=1, open_files=1024, user=user)
    (home / "nginx.conf").write_text(render_config(proxy))
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(build_command(binary, home), cwd=home, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection(HOST, port)
                        await close(writer)
                        break
                    assert process.poll() is None, (folder / "nginx.log").read_text()
                    await asyncio.sleep(0.01)
            yield port
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


@contextlib.asynccontextmanager
async def run_upstream(handler: Handler, port: int = 0) -> AsyncIterator[int]:
    """A bare TCP server; `handler` reads what nginx sends and answers, on each connection."""
    tasks: set[asyncio.Task[Any]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await handler(reader, writer)
        finally:
            await close(writer)

    server = await asyncio.start_server(tracked, HOST, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(seen: list[bytes], answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> Handler:
    """Keeps the head of each request and answers it; the connection stays open."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head)
            lengths = (int(line.split(b":")[1]) for line in head.lower().splitlines() if b"content-length" in line)
            await reader.readexactly(next(lengths, 0))
            writer.write(answer)
            await writer.drain()

    return handle


async def ask(port: int, request: str, body: bytes = b"") -> tuple[int, str, str]:
    """One request on a connection of its own: status, head and body of the answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                writer.write(request.encode() + b"Connection: close\r\n\r\n" + body)
                await writer.drain()
            answer = await reader.read()
    finally:
        await close(writer)
    head, _, rest = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), head, rest


def test_nginx_accepts_the_configuration_and_touches_nothing_outside_its_folder(binary: str, tmp_path: Path) -> None:
    user = pwd.getpwuid(0).pw_name if os.geteuid() == 0 else None
    proxy = build_proxy("127.0.0.1:8000", ["127.0.0.1:8100"], {}, processors=2, open_files=1024, user=user)
    (tmp_path / "nginx.conf").write_text(render_config(proxy))

    done = subprocess.run([*build_command(binary, tmp_path), "-t"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {
        *("nginx.conf", "nginx.pid", "client_body", "proxy", "fastcgi", "uwsgi", "scgi"),
    }


async def test_connections_to_an_instance_are_kept_and_the_ids_of_requests_pass(binary: str, tmp_path: Path) -> None:
    seen: list[bytes] = []
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(seen)(reader, writer)

    async with run_upstream(handle) as upstream, run_nginx(binary, tmp_path, [upstream]) as port:
        for number in range(5):
            assert (await ask(port, f"{START}X-Request-ID: r-{number}\r\nContent-Length: 0\r\n"))[0] == 200

    assert connections == 1
    assert [head.lower().count(b"x-request-id: r-%d" % number) for number, head in enumerate(seen)] == [1] * 5
    assert not any(b"connection:" in head.lower() or b"upgrade:" in head.lower() for head in seen)
    assert all(b"Host: lab" in head for head in seen)


async def test_a_dead_instance_costs_no_request_that_it_cannot_have_begun(binary: str, tmp_path: Path) -> None:
    seen: list[bytes] = []
    async with run_upstream(answering(seen)) as alive, run_nginx(binary, tmp_path, [free_port(), alive]) as port:
        statuses = [(await ask(port, f"{START}Content-Length: 2\r\n", b"{}"))[0] for _ in range(10)]

    assert statuses == [200] * 10
    assert len(seen) == 10


async def test_a_post_that_an_instance_has_begun_is_not_given_to_another(binary: str, tmp_path: Path) -> None:
    begun: list[bytes] = []

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    async with (
        run_upstream(die) as first,
        run_upstream(die) as second,
        run_nginx(binary, tmp_path, [first, second]) as port,
    ):
        status, head, body = await ask(port, f"{START}X-Request-ID: mine\r\nContent-Length: 2\r\n", b"{}")

    assert status == 502
    assert len(begun) == 1
    assert "X-Request-ID: mine" in head
    assert {**json.loads(body), "timestamp": None, "message": None} == {
        "code": "E140",
        "error": "bad_gateway",
        "message": None,
        "recoverable": True,
        "retry_after": None,
        "details": None,
        "timestamp": None,
    }


async def test_an_event_of_a_stream_arrives_before_the_next_is_made(binary: str, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: first\n\n"
        )
        await writer.drain()
        await go_on.wait()
        writer.write(b"data: second\n\n")
        writer.close()

    async with run_upstream(dribble) as upstream, run_nginx(binary, tmp_path, [upstream]) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST /chat/stream HTTP/1.1\r\nHost: lab\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(DEADLINE_S):
            await reader.readuntil(b"data: first\n\n")
            go_on.set()
            assert b"data: second" in await reader.read()
        await close(writer)


async def test_a_body_goes_on_while_it_still_arrives(binary: str, tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def read_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\nhalf")
        arrived.set()
        await reader.readexactly(4)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with run_upstream(read_half) as upstream, run_nginx(binary, tmp_path, [upstream]) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"{START}Content-Length: 8\r\nConnection: close\r\n\r\nhalf".encode())
        async with asyncio.timeout(DEADLINE_S):
            await arrived.wait()
            writer.write(b"more")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        await close(writer)


async def test_a_websocket_is_upgraded_and_both_sides_speak(binary: str, tmp_path: Path) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(f"{connection.request.path if connection.request else ''} {message!r}")
        await connection.close(1008, "Client too slow")

    async with serve(echo, HOST, 0) as server:
        upstream = next(iter(server.sockets)).getsockname()[1]
        async with (
            run_nginx(binary, tmp_path, [upstream]) as port,
            connect(f"ws://{HOST}:{port}/ws/chat/ws-load-test-3-17?api_key=k", proxy=None) as client,
        ):
            for word in ("one", "two"):
                await client.send(word)
                assert await client.recv() == f"/ws/chat/ws-load-test-3-17?api_key=k {word!r}"


async def test_what_is_a_little_too_large_reaches_the_instance_and_what_is_far_too_large_does_not(
    binary: str, tmp_path: Path
) -> None:
    seen: list[bytes] = []
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\nfrom mock"
    limit = 4096
    async with (
        run_upstream(answering(seen, refusal)) as upstream,
        run_nginx(binary, tmp_path, [upstream], CONSOUL_MAX_BODY_SIZE=str(limit)) as port,
    ):
        little, far = limit + 1, limit + BODY_MARGIN_BYTES + 1
        of_mock = await ask(port, f"{START}Content-Length: {little}\r\n", b"a" * little)
        of_nginx = await ask(port, f"{START}Content-Length: {far}\r\n", b"a" * far)

    assert (of_mock[0], of_mock[2]) == (413, "from mock")
    assert of_nginx[0] == 413
    assert json.loads(of_nginx[2])["code"] == "E006"
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [
        ("GET /" + "a" * 40_000, "X-A: b", 414),
        ("GET /health", "X-A: " + "b" * 40_000, 431),
        ("GE(T /health", "X-A: b", 400),
    ],
)
async def test_what_nginx_refuses_itself_has_the_one_shape_of_errors(
    binary: str, tmp_path: Path, request_line: str, header: str, status: int
) -> None:
    async with run_nginx(binary, tmp_path, [free_port()]) as port:
        got, _, body = await ask(port, f"{request_line} HTTP/1.1\r\nHost: lab\r\n{header}\r\n")

    assert got == status
    assert json.loads(body)["code"] == "E007"


async def test_headers_above_the_limits_of_the_mock_reach_it(binary: str, tmp_path: Path) -> None:
    seen: list[bytes] = []
    async with run_upstream(answering(seen)) as upstream, run_nginx(binary, tmp_path, [upstream]) as port:
        await ask(port, f"GET /health HTTP/1.1\r\nHost: lab\r\nX-A: {'b' * 20_000}\r\n")

    assert len(seen) == 1
