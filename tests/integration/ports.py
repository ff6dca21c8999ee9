"""Ports that are free when they are asked for: the lab of several instances takes them in a row."""

import socket


def find_row_of_ports(count: int) -> int:
    """The first of `count` ports that were free in a row a moment ago."""
    for first in range(20_000, 60_000, 37):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + offset))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError(f"no {count} free ports in a row")
