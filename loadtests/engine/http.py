"""Clients for one connection: a slim HTTP/1.1 client on gevent's loop for http, the ordinary one for https."""

import errno
import socket as stdlib_socket
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import gevent
from gevent import monkey
from gevent.socket import getaddrinfo
from geventhttpclient import HTTPClient

from loadtests.engine.answers import Answer, CutAnswerError, MalformedAnswerError, read_answer

# The unpatched socket: this module waits on the loop by itself, with one watcher for the life of a connection.
_socket: Any = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2
_RECEIVE_BYTES = 65_536
# Servers close connections that were idle for two seconds or more (gunicorn 2 s, uvicorn and Node 5 s), and a close
# that crosses a request shows within a round trip.
STALE_AFTER_S = 1.0
CROSSED_WITHIN_S = 0.05
_IN_PROGRESS = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})


class TransportError(Exception):
    """No whole answer came; `kind` as in the wire, the text is the same for the same cause."""

    def __init__(self, kind: Literal["timeout", "connection"], text: str) -> None:
        super().__init__(text)
        self.kind = kind


class _Expired(BaseException):
    """The deadline of a request passed while it waited; never leaves this module."""


class Client(Protocol):
    """What carries requests one after the other, over one connection at a time."""

    def exchange(self, request: bytes) -> Answer:
        """Sends one rendered request, returns its answer; raises TransportError."""

    def close(self) -> None:
        """Closes the connection, if there is one; the next request opens another."""


class Endpoint:
    """Where requests go: scheme, host, port, and the addresses of the name, looked up once."""

    def __init__(self, url: str) -> None:
        """Takes `http://host:port` or https; raises OSError when the name has no address."""
        parts = urlsplit(url)
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.is_tls else 80)
        self.prefix = parts.path.rstrip("/")
        self.authority = parts.netloc
        self.addresses = getaddrinfo(self.host, self.port, 0, stdlib_socket.SOCK_STREAM)

    def render_head(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        """Everything of a request up to the value of its content length; refuses a line break in a value."""
        lines = [f"{method} {self.prefix}{path} HTTP/1.1", f"Host: {self.authority}"]
        for name, value in headers.items():
            if any(mark in name + value for mark in "\r\n\0"):
                raise ValueError(f"header {name}: its value holds a line break")
            lines.append(f"{name}: {value}")
        return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("latin-1")


def render_request(head: bytes, body: bytes) -> bytes:
    """A whole request from a head of `render_head` and a body."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


class SlimClient:
    """HTTP/1.1 with keep-alive over a raw socket; used by one greenlet at a time.

    A request is sent once more, on a new connection, only where the target cannot have seen it: its reused
    connection broke as it was sent, or had been idle for so long that the target's close and the request crossed.
    Any other end without an answer is the target's failure. The deadline covers all of it together.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._hub: Any = gevent.get_hub()
        # A timer that is stopped keeps what was left of its time; only a repeating one begins anew, with `again`.
        self._timer: Any = self._hub.loop.timer(timeout_s, timeout_s)
        self._sock: Any = None
        self._watcher: Any = None
        self._waiting: Any = None
        self._is_gone = False
        self._has_received = False
        self._clock = clock
        self._used_s = 0.0

    def exchange(self, request: bytes) -> Answer:
        self._timer.again(self._expire)
        try:
            answer = self._exchange(request)
        except _Expired:
            self.close()
            raise TransportError("timeout", f"no whole answer within {self._timeout_s:g} s") from None
        except CutAnswerError as error:
            self.close()
            text = "connection closed inside the answer" if error.received else "connection closed without an answer"
            raise TransportError("connection", text) from None
        except MalformedAnswerError as error:
            self.close()
            raise TransportError("connection", f"malformed answer: {error}") from None
        except OSError as error:
            self.close()
            raise TransportError("connection", error.strerror or type(error).__name__) from None
        except BaseException:
            self.close()
            raise
        finally:
            self._timer.stop()
        self._used_s = self._clock()
        if not answer.reusable:
            self.close()
        return answer

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._watcher.stop()
            self._watcher.close()
            sock.close()

    def _exchange(self, request: bytes) -> Answer:
        if self._is_gone:
            self.close()
        if self._sock is not None and self._is_sent_on_reused(request):
            sent_s = self._clock()
            try:
                return read_answer(self._receive)
            except (CutAnswerError, ConnectionResetError, ConnectionAbortedError):
                if self._has_received or not self._has_crossed(sent_s):
                    raise
        self.close()
        self._connect()
        self._send(request)
        return read_answer(self._receive)

    def _is_sent_on_reused(self, request: bytes) -> bool:
        """Sends; False when the connection turns out to be closed, so that the request was not received whole."""
        try:
            self._send(request)
        except (ConnectionResetError, BrokenPipeError, ConnectionAbortedError):
            return False
        return True

    def _has_crossed(self, sent_s: float) -> bool:
        """Whether a connection that has just ended was more likely closed as idle than broken by the request."""
        return sent_s - self._used_s >= STALE_AFTER_S and self._clock() - sent_s < CROSSED_WITHIN_S

    def _connect(self) -> None:
        problem: OSError | None = None
        for family, kind, proto, _, address in self._endpoint.addresses:
            sock = _socket(family, kind, proto)
            sock.setblocking(False)
            try:
                code = sock.connect_ex(address)
                if code in _IN_PROGRESS:
                    self._wait_writable(sock)
                    code = sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ERROR)
                if code:
                    raise OSError(code, errno.errorcode.get(code, str(code)))
            except OSError as error:
                sock.close()
                problem = error
                continue
            except BaseException:
                sock.close()
                raise
            sock.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)
            self._sock, self._is_gone = sock, False
            self._watcher = self._hub.loop.io(sock.fileno(), _READ)
            self._watcher.start(self._on_readable)
            return
        raise problem or OSError(errno.EADDRNOTAVAIL, "no address")

    def _send(self, request: bytes) -> None:
        self._has_received = False
        sent = self._try_send(request)
        while sent < len(request):
            self._wait_writable(self._sock)
            sent += self._try_send(memoryview(request)[sent:])

    def _try_send(self, data: bytes | memoryview) -> int:
        try:
            return int(self._sock.send(data))
        except BlockingIOError:
            return 0

    def _receive(self) -> bytes:
        # The answer is never there before the loop has turned, so waiting first saves a failing call.
        while True:
            self._waiting = gevent.getcurrent()
            try:
                self._hub.switch()
            finally:
                self._waiting = None
            try:
                data: bytes = self._sock.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                continue
            self._has_received = bool(data) or self._has_received
            return data

    def _on_readable(self) -> None:
        waiting = self._waiting
        if waiting is not None:
            waiting.switch()
        elif self._watcher is not None:
            # Bytes or an end that nobody asked for: the connection is of no more use.
            self._is_gone = True
            self._watcher.stop()

    def _wait_writable(self, sock: Any) -> None:
        if sock is self._sock:
            # An answer that comes early must not wake us again and again while only writing can go on.
            self._watcher.stop()
        watcher = self._hub.loop.io(sock.fileno(), _WRITE)
        self._waiting = gevent.getcurrent()
        watcher.start(self._waiting.switch)
        try:
            self._hub.switch()
        finally:
            self._waiting = None
            watcher.stop()
            watcher.close()
        if sock is self._sock:
            self._watcher.start(self._on_readable)

    def _expire(self) -> None:
        waiting = self._waiting
        if waiting is not None:
            waiting.throw(_Expired())


class OrdinaryClient:
    """https through geventhttpclient: certificates are verified; slower, and used by one greenlet at a time."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client: Any = HTTPClient(
            endpoint.host,
            endpoint.port,
            ssl=endpoint.is_tls,
            insecure=False,
            connection_timeout=timeout_s,
            network_timeout=timeout_s,
            concurrency=1,
        )

    def exchange(self, request: bytes) -> Answer:
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines if not line.startswith("Content-Length"))
        try:
            with gevent.Timeout(self._timeout_s, TimeoutError()):
                response = self._client.request(method, target, body=body, headers=headers)
                content = bytes(response.read())
        except TimeoutError:
            self.close()
            raise TransportError("timeout", f"no whole answer within {self._timeout_s:g} s") from None
        except Exception as error:  # noqa: BLE001 - the library raises its own tree, ssl's, and OSError
            self.close()
            raise TransportError("connection", f"{type(error).__name__}: {error}") from None
        received = "\r\n".join([f"HTTP/1.1 {response.status_code}", *(f"{k}: {v}" for k, v in response.headers)])
        head_bytes = received.encode("latin-1", "replace")
        return Answer(response.status_code, head_bytes, content, len(head_bytes) + 4 + len(content), True)

    def close(self) -> None:
        self._client.close()


def create_client(endpoint: Endpoint, timeout_s: float) -> Client:
    """The client for an endpoint's scheme."""
    maker: Callable[[Endpoint, float], Client] = OrdinaryClient if endpoint.is_tls else SlimClient
    return maker(endpoint, timeout_s)
