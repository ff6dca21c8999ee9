"""Whether the lab's ports are free, and who holds the ones that are not.

A listener on any address or family counts: it would take the port from us or answer in our place.
"""

import errno
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import psutil

from mock_server.lab.errors import PortError
from mock_server.lab.settings import Ports

_PROBED_ADDRESSES = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET, "0.0.0.0"),
    (socket.AF_INET6, "::1"),
    (socket.AF_INET6, "::"),
)


@dataclass(frozen=True)
class PortOwner:
    """The process that listens on a port; `pid` is None when the system does not tell us."""

    pid: int | None
    command: str

    def describe(self) -> str:
        """The owner as a person would name it."""
        if self.pid is None:
            return "a process of another user (its name is visible to root only)"
        return f"pid {self.pid} ({self.command})"


def resolve_ports(
    ports: Ports, places: Mapping[str, tuple[int, str]], find_owner: Callable[[int], PortOwner | None]
) -> Ports:
    """`ports` with Redis moved to its fallback when its first choice is taken.

    `places` are the ports that are needed, by name: (number, the variable that moves it). Raises PortError listing
    every one that is taken, with its owner and variable.
    """
    taken: dict[str, PortOwner] = {}
    for name, (number, _) in places.items():
        owner = find_owner(number)
        if owner is not None:
            taken[name] = owner
    resolved = ports
    if "redis" in taken and ports.redis_fallback is not None and find_owner(ports.redis_fallback) is None:
        resolved = replace(ports, redis=ports.redis_fallback, redis_fallback=None)
        del taken["redis"]
    if taken:
        raise PortError(_describe_taken(places, taken))
    return resolved


def _describe_taken(places: Mapping[str, tuple[int, str]], taken: Mapping[str, PortOwner]) -> str:
    lines = []
    for name, owner in taken.items():
        number, variable = places[name]
        lines.append(f"  {number} ({name}) is held by {owner.describe()}; free it or set {variable}.")
    heading = "A port the lab needs is taken:" if len(taken) == 1 else "Ports the lab needs are taken:"
    return "\n".join([heading, *lines, "Nothing was started."])


def find_port_owner(port: int) -> PortOwner | None:
    """Who listens on TCP `port` of this machine, on any address; None when it can be bound."""
    if not _is_taken(port):
        return None
    try:
        listeners = [
            connection
            for connection in psutil.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        ]
    except psutil.AccessDenied:
        return PortOwner(None, "")
    pids = sorted({connection.pid for connection in listeners if connection.pid is not None})
    return PortOwner(pids[0], _describe_command(pids[0])) if pids else PortOwner(None, "")


def _is_taken(port: int) -> bool:
    return any(_is_bind_refused(family, address, port) for family, address in _PROBED_ADDRESSES)


def _is_bind_refused(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Without it a connection in TIME_WAIT, left by the lab that just ended, would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        # No IPv6, or a privileged port: not a sign that somebody holds it.
        return error.errno == errno.EADDRINUSE
    return False


def _describe_command(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return " ".join(process.cmdline())[:120] or process.name()
    except psutil.Error:
        return "ended meanwhile"
