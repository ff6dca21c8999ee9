"""HTTP as bytes on a socket: what no well-behaved client would send, and what comes back."""

import json
import re
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHAPE = {"code", "error", "message", "recoverable", "retry_after", "details", "timestamp"}
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RawAnswer:
    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    def header(self, name: str) -> str | None:
        found = re.search(rb"\r\n" + name.encode() + rb": ([^\r]*)\r\n", self.head + b"\r\n", re.IGNORECASE)
        return None if found is None else found[1].decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def assert_refusal(self, status: int) -> None:
        """The one error shape, an id, and the connection's end announced."""
        assert self.status == status
        assert set(self.json()) == SHAPE
        assert self.header("x-request-id")
        assert self.header("connection") == "close"


class RawClient:
    """One connection."""

    def __init__(self, port: int, timeout_s: float = 10.0):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._received = b""

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_answer(self, has_body: bool = True) -> RawAnswer:
        """Returns the next answer; raises EOFError when the connection ended before one was whole."""
        while b"\r\n\r\n" not in self._received:
            self._read_more()
        head, _, rest = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        size = int(length[1]) if length is not None and has_body else 0
        self._received = rest
        while len(self._received) < size:
            self._read_more()
        body, self._received = self._received[:size], self._received[size:]
        return RawAnswer(head, body)

    def read_answers(self) -> list[RawAnswer]:
        """Returns every answer until the server closes."""
        found = []
        try:
            while True:
                found.append(self.read_answer())
        except EOFError:
            return found

    def is_closed_within(self, deadline_s: float) -> bool:
        """Returns whether the server closes; throws away what it still sends."""
        end_s = time.monotonic() + deadline_s
        try:
            while (left_s := end_s - time.monotonic()) > 0:
                self.sock.settimeout(left_s)
                if not self.sock.recv(65_536):
                    return True
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return False

    def _read_more(self) -> None:
        data = self.sock.recv(262_144)
        if not data:
            raise EOFError("the server closed the connection")
        self._received += data


def build_request(method: str, path: str, body: bytes = b"", headers: Iterable[str] = ()) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: mock", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def exchange(port: int, request: bytes) -> RawAnswer:
    """Returns the first answer to bytes sent on a connection of their own."""
    with RawClient(port) as client:
        client.send(request)
        return client.read_answer()


def exchange_many(port: int, requests: list[bytes], at_once: int = 50) -> Iterator[RawAnswer]:
    """Yields the answer to each request, in order; many are sent before the first is read, where connections last."""
    done = 0
    while done < len(requests):
        with RawClient(port) as client:
            is_last = False
            while not is_last and done < len(requests):
                batch = requests[done : done + at_once]
                client.send(b"".join(batch))
                for request in batch:
                    answer = client.read_answer(has_body=not request.startswith(b"HEAD "))
                    yield answer
                    done += 1
                    is_last = answer.header("connection") == "close"
                    if is_last:
                        break


def read_bytes_of(pid: int) -> int:
    """Returns how many bytes a process has read, from sockets and anything else."""
    return int(Path(f"/proc/{pid}/io").read_text().split("rchar: ")[1].split()[0])
