"""Whether a service answers: one probe for each kind of address, and waiting with a deadline."""

import http.client
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from mock_server.lab.errors import SettingsError

PROBE_TIMEOUT_S = 1.0
POLL_INTERVAL_S = 0.05


def is_ready(url: str) -> bool:
    """True when `url` answers: http:// with 200, redis:// with PONG, within a second."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    try:
        match parts.scheme:
            case "redis":
                return _is_redis_ready(host, port)
            case "http":
                return _is_http_ready(host, port, parts.path or "/")
    except (OSError, http.client.HTTPException):
        return False
    raise SettingsError(f"No probe for {url!r}; wanted http:// or redis://.")


def _is_redis_ready(host: str, port: int) -> bool:
    with socket.create_connection((host, port), PROBE_TIMEOUT_S) as connection:
        connection.sendall(b"PING\r\n")
        # A server that still loads its data answers -LOADING.
        return connection.recv(64).startswith(b"+PONG")


def _is_http_ready(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    finally:
        connection.close()


def wait_until(
    is_done: Callable[[], bool],
    deadline_s: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Polls `is_done` until it holds or `deadline_s` seconds went by; returns whether it held."""
    end_s = clock() + deadline_s
    while not is_done():
        if clock() >= end_s:
            return False
        pause(POLL_INTERVAL_S)
    return True
