"""The fault proxy does what its toxics say, to an echo server and to whoever talks to it."""

import gc
import os
import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.mock.conftest import RedisServer, wait_until
from tests.reliability.fault_proxy import FaultProxy
from tests.reliability.toxics import (
    Bandwidth,
    Garbage,
    Latency,
    LimitData,
    Refuse,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
)


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.heard = b""  # type: ignore[attr-defined]
        try:
            while data := self.request.recv(65_536):
                self.server.heard += data  # type: ignore[attr-defined]
                self.request.sendall(data)
        except ConnectionError:
            pass


class _EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    heard = b""


@pytest.fixture
def echo() -> Iterator[_EchoServer]:
    with _EchoServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: _EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy(echo.server_address[1]) as made:
        yield made


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def ask(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return receive(client, len(data))


def receive(client: socket.socket, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size and (piece := client.recv(65_536)):
        pieces += piece
    return pieces


def count_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def seconds(client: socket.socket, data: bytes = b"ping") -> float:
    started_s = time.monotonic()
    assert ask(client, data) == data
    return time.monotonic() - started_s


def test_passes_megabytes_unchanged_both_ways(proxy: FaultProxy) -> None:
    data = random.Random(1).randbytes(3_000_000)
    with connect(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert receive(client, len(data)) == data
        sender.join()
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b"", "the end of a stream passes on too"
    wait_until(lambda: proxy.connections == 0, "the link ends")


def test_latency_delays_a_live_connection_until_it_is_removed_and_pipelines(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        quick_s = seconds(client)
        name = proxy.add(Latency(latency=200, jitter=20))
        assert seconds(client) >= 0.18
        client.settimeout(5)
        started_s = time.monotonic()
        for _ in range(10):
            client.sendall(b"x" * 10)
            time.sleep(0.002)
        assert receive(client, 100) == b"x" * 100
        assert time.monotonic() - started_s < 1.0, "ten pieces wait at the same time, not one after another"
        proxy.remove(name)
        assert seconds(client) < 0.18 + quick_s


def test_a_delay_under_way_ends_when_its_toxic_is_removed(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        name = proxy.add(Latency(latency=60_000))
        client.sendall(b"held")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(4)
        client.settimeout(5)
        proxy.remove(name)
        assert receive(client, 4) == b"held"


def test_bandwidth_holds_its_rate(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        proxy.add(Bandwidth(rate=20))
        assert 0.5 <= seconds(client, b"x" * 10_000) < 3.0


def test_slicer_cuts_into_pieces_and_loses_nothing(proxy: FaultProxy) -> None:
    data = os.urandom(200)
    with connect(proxy) as client:
        proxy.add(Slicer(average_size=1, delay=1000))
        client.sendall(data)
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < len(data):
            pieces.append(client.recv(65_536))
        assert b"".join(pieces) == data
        assert len(pieces) > 20


def test_limit_data_cuts_inside_a_reply_and_counts_from_when_it_was_added(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        assert ask(client, b"before") == b"before"
        proxy.add(LimitData(bytes=10))
        assert ask(client, b"sixsix") == b"sixsix"
        client.sendall(b"1234567890")
        assert receive(client, 10) == b"1234"
        assert client.recv(1) == b""


@pytest.mark.parametrize("passes", [0, 3])
def test_reset_peer_resets_in_the_middle_of_a_reply(proxy: FaultProxy, passes: int) -> None:
    with connect(proxy) as client:
        proxy.add(ResetPeer(passes=passes, timeout=50))
        client.sendall(b"1234567890")
        if passes:
            assert receive(client, 3) == b"123"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_timeout_drops_data_then_closes_and_zero_never_closes_by_itself(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        name = proxy.add(Timeout())
        client.sendall(b"lost")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5)
        proxy.remove(name)
        assert client.recv(1) == b"", "order is lost, so removal closes"
    with connect(proxy) as client:
        proxy.add(Timeout(timeout=100))
        client.sendall(b"lost")
        assert client.recv(1) == b""


def test_a_toxic_upstream_harms_only_what_the_client_sends(proxy: FaultProxy, echo: _EchoServer) -> None:
    with connect(proxy) as client:
        proxy.add(Timeout(stream="upstream"))
        client.sendall(b"lost")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert echo.heard == b""


def test_downstream_loss_leaves_the_server_believing_it_answered(proxy: FaultProxy, echo: _EchoServer) -> None:
    with connect(proxy) as client:
        proxy.add(Timeout())
        client.sendall(b"done")
        wait_until(lambda: echo.heard == b"done", "the server hears it")


def test_down_refuses_cuts_and_comes_back_on_its_port(proxy: FaultProxy) -> None:
    port = proxy.port
    with connect(proxy) as client:
        assert ask(client, b"x") == b"x"
        proxy.disable()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.enable()
    with connect(proxy) as client:
        assert ask(client, b"x") == b"x"
    assert proxy.port == port


def test_slow_close_delays_only_the_end(proxy: FaultProxy) -> None:
    proxy.add(SlowClose(delay=300))
    with connect(proxy) as client:
        assert ask(client, b"x") == b"x"
        started_s = time.monotonic()
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        assert time.monotonic() - started_s >= 0.3


def test_garbage_is_of_the_same_length_and_other_bytes(proxy: FaultProxy) -> None:
    data = b"\0" * 500
    with connect(proxy) as client:
        name = proxy.add(Garbage())
        received = ask(client, data)
        assert len(received) == len(data)
        assert received != data
        proxy.remove(name)
        assert ask(client, data) == data


def test_refuse_answers_each_command_in_its_turn_and_runs_none(redis_server: RedisServer) -> None:
    command = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
    refusal = b"-LOADING not yet\r\n"
    with FaultProxy(redis_server.port) as proxy, connect(proxy) as client:
        client.sendall(command)
        assert receive(client, 4) == b":1\r\n"
        for _ in range(50):
            # Replies to what came before are on their way when it begins.
            client.sendall(command * 3)
            name = proxy.add(Refuse(reply="LOADING not yet"))
            client.sendall(command * 2)
            received = b""
            while received.count(b"\r\n") < 5:
                received += client.recv(65_536)
            replies = received.splitlines(keepends=True)
            assert [reply == refusal for reply in replies] == sorted(reply == refusal for reply in replies)
            assert replies[3:] == [refusal] * 2
            proxy.remove(name)
        counted = redis_server.client().get("n")
        assert isinstance(counted, bytes)
        assert int(counted) <= 151


def test_toxicity_is_the_share_of_connections_harmed(proxy: FaultProxy) -> None:
    proxy.add(Garbage(toxicity=0.5))
    harmed = 0
    for _ in range(60):
        with connect(proxy) as client:
            harmed += ask(client, b"\0" * 50) != b"\0" * 50
    assert 10 <= harmed <= 50


def test_a_server_that_is_away_ends_the_connection(proxy: FaultProxy, echo: _EchoServer) -> None:
    with FaultProxy(1) as nowhere, connect(nowhere) as client:
        assert client.recv(1) == b""


def test_ends_cleanly_with_connections_toxics_and_data_under_way(echo: _EchoServer) -> None:
    threads, files = threading.active_count(), count_files()
    clients = []
    with FaultProxy(echo.server_address[1]) as proxy:
        for toxic in (Latency(latency=60_000), Timeout(timeout=60_000, stream="upstream"), SlowClose(delay=60_000)):
            proxy.add(toxic)
        for _ in range(20):
            clients.append(connect(proxy))
            clients[-1].sendall(b"x" * 100_000)
        wait_until(lambda: proxy.connections == 20, "all are linked")
    for client in clients:
        client.close()
    assert not proxy._thread.is_alive()
    assert proxy._loop.is_closed()
    assert proxy.connections == 0
    wait_until(lambda: threading.active_count() <= threads, "the echo server's threads end")
    wait_until(lambda: count_files() <= files, "no socket is left")


def test_ends_cleanly_while_connections_are_being_made(echo: _EchoServer) -> None:
    for number in range(60):
        clients = []
        with FaultProxy(echo.server_address[1]) as made:
            for _ in range(8):
                client = connect(made)
                client.sendall(b"ping")
                clients.append(client)
            # So that the end comes at many moments of their being made.
            time.sleep(number * 0.0001)
        for client in clients:
            client.close()
    # Whatever was left open says so when it is freed, which fails the test.
    gc.collect()
