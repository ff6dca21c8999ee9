"""A WebSocket client on a bare socket: sends what no library would, reads as slowly as told, or not at all."""

import base64
import json
import os
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass
class Frame:
    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        return int.from_bytes(self.payload[:2], "big")

    @property
    def close_reason(self) -> str:
        return self.payload[2:].decode()


def mask(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    repeated = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")


def build_frame(opcode: int, payload: bytes, *, is_masked: bool = True, first: int | None = None) -> bytes:
    """Returns one frame; `first` replaces its first byte, so that any flag can be set."""
    head = bytes([0x80 | opcode if first is None else first])
    bit = 0x80 if is_masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65_536:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    key = os.urandom(4)
    return head + key + mask(payload, key) if is_masked else head + payload


def take_frame(buffer: bytearray) -> Frame | None:
    """Takes the first whole frame of a server out of `buffer`."""
    if len(buffer) < 2:
        return None
    length, start = buffer[1] & 0x7F, 2
    assert not buffer[1] & 0x80, "a server masks no frame"
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(buffer) < 2 + size:
            return None
        length, start = int.from_bytes(buffer[2 : 2 + size], "big"), 2 + size
    if len(buffer) < start + length:
        return None
    frame = Frame(buffer[0] & 0x0F, bytes(buffer[start : start + length]))
    del buffer[: start + length]
    return frame


@dataclass
class RawWebSocket:
    """One connection; `status` is what the handshake was answered with."""

    port: int
    path: str = "/ws/chat/raw"
    headers: tuple[str, ...] = ()
    receive_buffer_bytes: int | None = None
    timeout_s: float = 15.0
    status: int = 0
    answer: bytes = b""
    _buffer: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.sock = socket.socket()
        if self.receive_buffer_bytes is not None:
            # Before connecting, or the window already offered would be larger.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes)
        self.sock.settimeout(self.timeout_s)
        self.sock.connect(("127.0.0.1", self.port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *self.headers,
        ]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        while b"\r\n\r\n" not in self._buffer:
            data = self.sock.recv(4096)
            if not data:
                break
            self._buffer += data
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self.answer, self._buffer = head, bytearray(rest)
        self.status = int(head.split(b" ", 2)[1])

    @property
    def local_port(self) -> int:
        return int(self.sock.getsockname()[1])

    def __enter__(self) -> "RawWebSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, content: str) -> None:
        """Sends a chat message."""
        self.send_frame(TEXT, json.dumps({"type": "message", "content": content}).encode())

    def send_frame(self, opcode: int, payload: bytes, **how: Any) -> None:
        self.sock.sendall(build_frame(opcode, payload, **how))

    def read_frame(self, at_most_bytes: int = 65_536) -> Frame | None:
        """Returns the next frame, None at the end of the stream; raises on a reset and on a time-out."""
        while (frame := take_frame(self._buffer)) is None:
            data = self.sock.recv(at_most_bytes)
            if not data:
                return None
            self._buffer += data
        return frame

    def read_message(self) -> dict[str, Any]:
        """Returns the next message, decoded; answers pings on the way."""
        while True:
            frame = self.read_frame()
            assert frame is not None, "the connection ended"
            if frame.opcode == PING:
                self.send_frame(PONG, frame.payload)
            elif frame.opcode == TEXT:
                return dict(json.loads(frame.payload))
            else:
                raise AssertionError(f"close {frame.close_code} {frame.close_reason!r}")

    def read_answer(self) -> tuple[list[str], dict[str, Any]]:
        """Returns the tokens of one answer, and the message that ended it."""
        tokens = []
        while (message := self.read_message())["type"] == "token":
            tokens.append(message["data"]["text"])
        return tokens, message

    def read_until_close(self) -> tuple[int, Frame | None]:
        """Returns how many frames came before the close frame, and that; None when the stream ended without."""
        count = 0
        while (frame := self.read_frame()) is not None:
            if frame.opcode == CLOSE:
                return count, frame
            count += 1
        return count, None

    def read_slowly(self, bytes_per_s: float, until_s: float) -> None:
        """Takes bytes off in small pieces until the monotonic time `until_s`, or the end of the stream."""
        while (left_s := until_s - time.monotonic()) > 0:
            data = self.sock.recv(max(1, int(bytes_per_s * 0.05)))
            if not data:
                return
            self._buffer += data
            time.sleep(min(0.05, left_s))

    def is_gone(self) -> bool:
        """Whether the other side took the connection away, reading off what it sent before."""
        self.sock.setblocking(False)
        try:
            while self.sock.recv(65_536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(self.timeout_s)
        return True
