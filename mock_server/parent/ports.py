"""Takes the ports a mock listens on, or says who has them."""

import errno
import socket
from pathlib import Path

from mock_server.errors import PortTakenError

_LISTEN = "0A"


def listen(host: str, port: int, variable: str, backlog: int) -> socket.socket:
    """Returns a listening TCP socket; raises PortTakenError naming port, owner when it can be found, and variable.

    It listens at once, so that a second mock on the same port fails here and not in a worker.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise PortTakenError(_explain(error, host, port, variable)) from error
    return sock


def _explain(error: OSError, host: str, port: int, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        owner = find_owner(port)
        by = f" by {owner}" if owner else ""
        return f"port {port} on {host} is taken{by}; stop that, or set {variable} to a free port"
    return f"cannot listen on {host}:{port} ({error.strerror}); change {variable} or CONSOUL_HOST"


def find_owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """Returns command and process id of whoever listens on `port`, or None where /proc does not tell."""
    inodes = {
        f"socket:[{inode}]" for name in ("tcp", "tcp6") for inode in _listening_inodes(proc / "net" / name, port)
    }
    if not inodes:
        return None
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return None


def _listening_inodes(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]
