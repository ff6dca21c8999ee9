"""WebSocket frames as a server sends them (RFC 6455, section 5.2): unmasked, whole, built by hand for speed."""

import struct

TEXT = 0x1
CLOSE = 0x8
PING = 0x9
PONG = 0xA
_FIN = 0x80


def build_frame(opcode: int, payload: bytes) -> bytes:
    """Returns one final frame; its header is 2 bytes, 4 from 126 bytes of payload, 10 from 65,536."""
    size = len(payload)
    first = _FIN | opcode
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def build_text_frame(payload: bytes) -> bytes:
    """Returns a text message in one frame; `payload` is UTF-8."""
    return build_frame(TEXT, payload)


def build_close_frame(code: int, reason: str) -> bytes:
    """Returns a close frame; raises ValueError when code and reason exceed the 125 bytes of a control frame."""
    payload = struct.pack("!H", code) + reason.encode()
    if len(payload) > 125:
        raise ValueError(f"the reason of a close frame has at most 123 bytes; got {len(payload) - 2}")
    return build_frame(CLOSE, payload)
