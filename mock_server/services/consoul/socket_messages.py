"""Messages of the chat WebSocket: what a client sends, decoded and checked; what it gets, as frames."""

import functools
from typing import Any

import msgspec

from mock_server.core.frames import build_text_frame
from mock_server.errors import InvalidContentError, InvalidJsonError, RequestError, UnknownMessageTypeError
from mock_server.services.consoul.conversation import Reply
from mock_server.services.consoul.decoding import refuse_flaws
from mock_server.services.consoul.models import MAX_MESSAGE

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def parse_content(message: str | bytes) -> str:
    """Returns the content of `{"type": "message", "content": "…"}`; fields it does not know are passed over.

    Raises InvalidJsonError, UnknownMessageTypeError, InvalidContentError.
    """
    try:
        found: Any = _decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJsonError("The message is not valid JSON.") from None
    if not isinstance(found, dict) or found.get("type") != "message":
        raise UnknownMessageTypeError
    raw = message.encode() if isinstance(message, str) else message
    refuse_flaws(raw, 8 if len(found) == 2 else None)
    content = found.get("content")
    if not isinstance(content, str) or not 1 <= len(content) <= MAX_MESSAGE:
        raise InvalidContentError(f"'content' must be a text of 1 to {MAX_MESSAGE} characters.")
    return content


# Answers repeat their words: a token costs a look-up, not an encoding.
@functools.lru_cache(maxsize=4096)
def token_frame(text: str) -> bytes:
    """Returns the frame of one token."""
    return build_text_frame(b'{"type":"token","data":{"text":' + _encode(text) + b"}}")


def done_frame(reply: Reply, duration_s: float, is_degraded: bool) -> bytes:
    """Returns the frame that ends an answer; like the header, `degraded` says that memory stood in for Redis."""
    data: dict[str, Any] = {
        "usage": {
            "input_tokens": reply.usage.input_tokens,
            "output_tokens": reply.usage.output_tokens,
            "duration_ms": round(duration_s * 1000, 3),
        },
        "timestamp": reply.timestamp,
    }
    if is_degraded:
        data["degraded"] = "redis"
    return build_text_frame(_encode({"type": "done", "data": data}))


def error_frame(error: RequestError) -> bytes:
    """Returns the frame of a refusal or failure; the connection stays open."""
    data = {
        "code": error.code,
        "error": error.error,
        "message": error.message,
        "recoverable": error.recoverable,
        "retry_after": error.retry_after_s,
    }
    return build_text_frame(_encode({"type": "error", "data": data}))
