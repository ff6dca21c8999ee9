"""`python -m tests.bench.latency`: what `POST /chat` adds to a request at 100 a second, beside a bare ASGI app.

Requests start at fixed moments on one kept connection, and each is timed from the moment it was due.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import sys
import time
from urllib.parse import urlsplit

from tests.bench.mock import BenchError, start_bare, start_mock

RATE = 100.0
SESSIONS = 1000
_END_OF_HEAD = b"\r\n\r\n"


def build_requests(host: str) -> list[bytes]:
    """Returns one turn for each session, as `chat.lua` sends them."""
    requests = []
    for number in range(SESSIONS):
        body = json.dumps({"session_id": f"bench-{number}", "message": "Hello, how are you?"}).encode()
        head = f"POST /chat HTTP/1.1\r\nHost: {host}\r\nX-API-Key: load-lab\r\nContent-Type: application/json\r\n"
        requests.append(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return requests


def measure(url: str, requests: list[bytes], seconds: float) -> list[float]:
    """Returns the latency of every request, in seconds; raises BenchError when an answer is no success."""
    address = urlsplit(url)
    latencies = []
    with contextlib.closing(socket.create_connection((address.hostname or "", address.port or 0))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start_s = time.perf_counter()
        for number in range(int(seconds * RATE)):
            due_s = start_s + number / RATE
            time.sleep(max(0.0, due_s - time.perf_counter()))
            sock.sendall(requests[number % len(requests)])
            receive_answer(sock)
            latencies.append(time.perf_counter() - due_s)
    return latencies


def receive_answer(sock: socket.socket) -> None:
    """Returns once a whole answer came; raises BenchError when it is no success."""
    data = b""
    while _END_OF_HEAD not in data:
        data += _receive(sock)
    head, _, body = data.partition(_END_OF_HEAD)
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"not a success: {head.splitlines()[0]!r}")
    length = next(
        int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += _receive(sock)


def _receive(sock: socket.socket) -> bytes:
    piece = sock.recv(65536)
    if not piece:
        raise BenchError("the server closed the connection")
    return piece


def find_quantile(values: list[float], share: float) -> float:
    """Returns the least value that `share` of all do not exceed."""
    return sorted(values)[max(0, round(share * len(values)) - 1)]


def _format_ms(values: list[float], share: float) -> str:
    return f"{find_quantile(values, share) * 1e3:.2f} ms"


def main() -> int:
    """Prints each run, and the medians of what the mock adds; returns 1 when it could not measure."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.latency", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    added = []
    try:
        with contextlib.ExitStack() as stack:
            server, client = str(cores[0]), str(cores[-1])
            mock, bare = start_mock(stack, server, client), start_bare(stack, "mock", server)
            measure(mock, build_requests("mock"), 2)
            for number in range(1, given.runs + 1):
                plain = measure(bare, [b"GET / HTTP/1.1\r\nHost: bare\r\n\r\n"], given.seconds)
                whole = measure(mock, build_requests("mock"), given.seconds)
                added.append([find_quantile(whole, share) - find_quantile(plain, share) for share in (0.5, 0.99)])
                shown = "   ".join(
                    f"{name} p50 {_format_ms(values, 0.5)} p99 {_format_ms(values, 0.99)}"
                    for name, values in (("mock", whole), ("bare", plain))
                )
                print(f"run {number}: {shown}", flush=True)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    middle, high = (statistics.median(column) * 1e3 for column in zip(*added, strict=True))
    print(f"added at {RATE:.0f} requests/s: p50 {middle:.2f} ms, p99 {high:.2f} ms (medians)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
