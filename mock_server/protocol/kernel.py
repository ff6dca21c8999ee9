"""What a protocol asks of the kernel about its socket, beyond what a transport offers."""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios


def bound_buffers(transport: asyncio.BaseTransport, send_bytes: int, receive_bytes: int) -> None:
    """Bounds what the kernel holds for a client that does not read, and of one that sends too much.

    The kernel counts twice that with its own bookkeeping; left alone it grows either to megabytes.
    """
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)


def has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Returns whether the other side has closed its end, even behind bytes nobody has read; only Linux tells."""
    raw = transport.get_extra_info("socket")
    if raw is None or not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def release(transport: asyncio.WriteTransport) -> None:
    """Takes the socket away at once, with what the client never took off; one that took all sees a plain end."""
    raw = transport.get_extra_info("socket")
    if raw is not None and (transport.get_write_buffer_size() or _count_unsent(raw)):
        # Without this the kernel would keep its buffer for minutes, trying to deliver it to nobody.
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _count_unsent(raw: socket.socket) -> int:
    """Returns the bytes the other side has not acknowledged; 1 where the system does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)), "little")
    except OSError:
        return 1
