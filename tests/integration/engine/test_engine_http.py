"""The slim client on real sockets: it agrees with an ordinary client, and survives what targets do to connections."""

import gc
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from loadtests.engine import http
from loadtests.engine.http import Endpoint, OrdinaryClient, SlimClient, TransportError, create_client, render_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[socket.socket, int], None]


class Server:
    """Gives each connection, with its number, to a function in a thread; keeps what was read by `take`."""

    def __init__(self, serve: Serve, listener: socket.socket | None = None) -> None:
        self.listener = listener or socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self._serve = serve
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection, self.connections), daemon=True).start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with connection:
            try:
                self._serve(connection, number)
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(5)


@pytest.fixture
def start_server() -> Iterator[Callable[[Serve], Server]]:
    servers: list[Server] = []

    def start(serve: Serve) -> Server:
        servers.append(Server(serve))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def take(connection: socket.socket) -> bytes:
    """One request, body included."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    parts, size = [body], len(body)
    while size < length:
        parts.append(connection.recv(65536))
        size += len(parts[-1])
    return head + b"\r\n\r\n" + b"".join(parts)


def request(endpoint: Endpoint, body: bytes = b"{}") -> bytes:
    return render_request(endpoint.render_head("POST", "/x", {"X-A": "b"}), body)


_clients: list[SlimClient] = []


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


def client_of(server: Server, timeout_s: float = 5.0) -> tuple[SlimClient, bytes]:
    endpoint = Endpoint(server.url)
    _clients.append(SlimClient(endpoint, timeout_s))
    return _clients[-1], request(endpoint)


def test_one_connection_carries_many_requests(start_server: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        while take(connection):
            connection.sendall(OK)

    server = start_server(serve)
    client, data = client_of(server)
    assert {client.exchange(data).body for _ in range(50)} == {b"ok"}
    assert server.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nT: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy",
        b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"z" * 300_000,
    ],
    ids=["length", "chunked", "close", "interim", "error", "large"],
)
def test_it_agrees_with_an_ordinary_client(start_server: Callable[[Serve], Server], reply: bytes) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        while take(connection):
            for start in range(0, len(reply), 70_001):
                connection.sendall(reply[start : start + 70_001])
            if b"close" in reply:
                return

    server = start_server(serve)
    client, data = client_of(server)
    try:
        with urllib.request.urlopen(f"{server.url}/x", data=b"{}", timeout=5) as answer:
            expected = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        expected = error.code, error.read()
    for _ in range(3):
        seen = client.exchange(data)
        assert (seen.status, seen.body) == expected


def test_a_large_request_arrives_whole_although_the_target_reads_slowly(
    start_server: Callable[[Serve], Server],
) -> None:
    sizes: list[int] = []

    def serve(connection: socket.socket, _: int) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sizes.append(len(take(connection).partition(b"\r\n\r\n")[2]))
        connection.sendall(OK)

    server = start_server(serve)
    client, _ = client_of(server, timeout_s=10.0)
    assert client.exchange(request(Endpoint(server.url), b"x" * 2_000_000)).body == b"ok"
    assert sizes == [2_000_000]


def test_a_connection_closed_between_requests_is_replaced(start_server: Callable[[Serve], Server]) -> None:
    closed = threading.Event()

    def serve(connection: socket.socket, _: int) -> None:
        take(connection)
        connection.sendall(OK)
        connection.close()
        closed.set()

    server = start_server(serve)
    client, data = client_of(server)
    for _ in range(3):
        closed.clear()
        assert client.exchange(data).body == b"ok"
        assert closed.wait(5)
        with gevent.Timeout(5):
            while not client._is_gone:
                gevent.sleep(0)
    assert server.connections == 3


@pytest.mark.parametrize("silent_s", [0.0, 0.2], ids=["at-once", "later"])
def test_a_target_that_takes_a_request_and_hangs_up_has_failed(
    start_server: Callable[[Serve], Server], monkeypatch: pytest.MonkeyPatch, silent_s: float
) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        take(connection)
        connection.sendall(OK)
        take(connection)
        time.sleep(silent_s)

    if silent_s:
        monkeypatch.setattr(http, "STALE_AFTER_S", 0.0)
    server = start_server(serve)
    client, data = client_of(server)
    client.exchange(data)
    with pytest.raises(TransportError, match="closed without an answer") as caught:
        client.exchange(data)
    assert (caught.value.kind, server.connections) == ("connection", 1)


def test_a_long_idle_connection_closed_as_the_request_is_sent_is_replaced(
    start_server: Callable[[Serve], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "STALE_AFTER_S", 0.0)
    monkeypatch.setattr(http, "CROSSED_WITHIN_S", 5.0)

    def serve(connection: socket.socket, number: int) -> None:
        while take(connection):
            connection.sendall(OK)
            if number == 1:
                take(connection)
                return

    server = start_server(serve)
    client, data = client_of(server)
    assert [client.exchange(data).body for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 2


def test_a_fresh_connection_that_dies_is_an_error_and_not_tried_again(
    start_server: Callable[[Serve], Server],
) -> None:
    server = start_server(lambda connection, _: [take(connection)].clear())
    client, data = client_of(server)
    with pytest.raises(TransportError, match="closed without an answer") as caught:
        client.exchange(data)
    assert (caught.value.kind, server.connections) == ("connection", 1)


def test_an_answer_cut_in_the_middle_is_an_error_and_not_tried_again(start_server: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        take(connection)
        connection.sendall(OK)
        take(connection)
        connection.sendall(OK[:-1])

    server = start_server(serve)
    client, data = client_of(server)
    client.exchange(data)
    with pytest.raises(TransportError, match="closed inside the answer"):
        client.exchange(data)
    assert server.connections == 1


def test_unsolicited_bytes_are_never_taken_for_the_next_answer(start_server: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        take(connection)
        connection.sendall(OK + OK.replace(b"ok", b"no"))
        take(connection)
        connection.sendall(OK.replace(b"ok", b"no"))

    server = start_server(serve)
    client, data = client_of(server)
    assert [client.exchange(data).body for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 3


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"], ids=["silent", "half"])
def test_the_deadline_covers_the_whole_request(start_server: Callable[[Serve], Server], sent: bytes) -> None:
    let_go = threading.Event()

    def serve(connection: socket.socket, _: int) -> None:
        take(connection)
        connection.sendall(sent)
        let_go.wait(10)

    client, data = client_of(start_server(serve), timeout_s=0.1)
    with pytest.raises(TransportError, match=r"no whole answer within 0\.1 s") as caught:
        client.exchange(data)
    let_go.set()
    assert caught.value.kind == "timeout"


def test_the_deadline_begins_anew_with_each_request(start_server: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        while take(connection):
            time.sleep(0.1)
            connection.sendall(OK)

    server = start_server(serve)
    client, data = client_of(server, timeout_s=0.25)
    # Together far longer than the deadline, each within it.
    assert [client.exchange(data).status for _ in range(8)] == [200] * 8


def test_a_client_that_timed_out_serves_the_next_request(start_server: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        while take(connection):
            if number > 1:
                time.sleep(0.05)
                connection.sendall(OK)

    server = start_server(serve)
    client, data = client_of(server, timeout_s=0.25)
    with pytest.raises(TransportError, match="within"):
        client.exchange(data)
    assert [client.exchange(data).status for _ in range(3)] == [200] * 3


def test_a_trickle_does_not_extend_the_deadline(start_server: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        take(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        until_s = time.monotonic() + 5
        while time.monotonic() < until_s:
            connection.sendall(b"X-Slow: yes\r\n")
            threading.Event().wait(0.01)

    client, data = client_of(start_server(serve), timeout_s=0.2)
    with pytest.raises(TransportError) as caught:
        client.exchange(data)
    assert caught.value.kind == "timeout"


def test_nobody_listening_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    endpoint = Endpoint(url)
    with pytest.raises(TransportError, match="ECONNREFUSED") as caught:
        SlimClient(endpoint, 1.0).exchange(request(endpoint))
    assert caught.value.kind == "connection"


def test_a_killed_request_leaves_no_half_read_connection(start_server: Callable[[Serve], Server]) -> None:
    asked = threading.Event()

    def serve(connection: socket.socket, number: int) -> None:
        take(connection)
        if number == 1:
            asked.set()
            take(connection)
        else:
            connection.sendall(OK)

    server = start_server(serve)
    client, data = client_of(server)
    greenlet = gevent.spawn(client.exchange, data)
    until_s = time.monotonic() + 5
    while not asked.is_set() and time.monotonic() < until_s:
        gevent.sleep(0.005)
    greenlet.kill()
    assert client.exchange(data).body == b"ok"
    assert server.connections == 2


# The library leaves the socket of a refused handshake to the collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_https_goes_through_the_ordinary_client_which_checks_the_certificate(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = context.wrap_socket(
        socket.create_server(("127.0.0.1", 0)), server_side=True, do_handshake_on_connect=False
    )

    def serve(connection: socket.socket, _: int) -> None:
        take(connection)
        connection.sendall(OK)

    server = Server(serve, listener)
    endpoint = Endpoint(server.url.replace("http://127.0.0.1", "https://localhost"))
    client = create_client(endpoint, 5.0)
    assert isinstance(client, OrdinaryClient)
    with pytest.raises(TransportError, match=r"(?i)certificate") as caught:
        client.exchange(request(endpoint))
    assert caught.value.kind == "connection"
    server.close()
    del client, caught
    gc.collect()


def test_the_ordinary_client_speaks_the_same_interface(start_server: Callable[[Serve], Server]) -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket, _: int) -> None:
        while data := take(connection):
            seen.append(data)
            connection.sendall(b"HTTP/1.1 500 X\r\nX-Mock-Fault: error\r\nContent-Length: 2\r\n\r\nok")

    endpoint = Endpoint(start_server(serve).url)
    client = OrdinaryClient(endpoint, 5.0)
    answer = client.exchange(request(endpoint, b'{"a":1}'))
    assert (answer.status, answer.body, answer.header(b"x-mock-fault")) == (500, b"ok", b"error")
    assert seen[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert seen[0].endswith(b'\r\n\r\n{"a":1}')
    client.close()
    # The library closes the socket when the loop turns next.
    gevent.sleep(0)
