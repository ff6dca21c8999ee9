"""Sizes of a request that does not arrive in one piece, and what to say of one that cannot be taken. No I/O."""

import re
from collections.abc import Sequence

import httptools

from mock_server.errors import HeadTooLargeError, RequestError, RequestTooLargeError, UrlTooLongError
from mock_server.protocol.limits import HttpLimits

_NOT_HTTP = "The bytes received are not an HTTP request"
_find_request_line = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (/[!-~]{0,8191}) HTTP/1\.[01]\r\n").match

Headers = Sequence[tuple[bytes, bytes]]


class Intake:
    """Counts one request at a time: first the parts of its head, then those of a body of unknown length."""

    def __init__(self, limits: HttpLimits):
        self._limits = limits
        self._head_bytes = 0
        self._wire_bytes = 0
        self.body_bytes = 0

    def begin_head(self, part: bytes, url: bytes, headers: Headers) -> None:
        """Notes the first part; `url` and `headers` are what the parser has found in it."""
        unfinished = len(part) - part.rfind(b"\n") - 1
        self._head_bytes = _measure(headers) + max(len(url), unfinished)

    def add_to_head(self, part: bytes) -> None:
        """Notes a later part."""
        self._head_bytes += len(part)

    def begin_body(self, came_bytes: int) -> None:
        """Notes that `came_bytes` of the body came together with the head."""
        self.body_bytes, self._wire_bytes = came_bytes, came_bytes

    def add_to_wire(self, size_bytes: int) -> None:
        """Notes bytes that carry the body, whatever they mean; the body's own are added to `body_bytes`."""
        self._wire_bytes += size_bytes

    def check_head_so_far(self, url: bytes) -> RequestError | None:
        """Returns the error of a head that is too large before its end."""
        return self._describe(url) if self._head_bytes > self._limits.head_bytes else None

    def check_whole_head(self, url: bytes, headers: Headers) -> RequestError | None:
        """Returns the error of a head that is too large, or has too many headers."""
        is_long = _measure(headers) + len(url) > self._limits.head_bytes
        return self._describe(url) if is_long or len(headers) > self._limits.headers else None

    def check_body(self) -> RequestError | None:
        """Returns the error of a body that is too large, by itself or by its framing."""
        limits = self._limits
        if self.body_bytes <= limits.body_bytes and self._wire_bytes <= limits.wire_bytes:
            return None
        return RequestTooLargeError(details={"limit_bytes": limits.body_bytes}, headers=[(b"connection", b"close")])

    def _describe(self, url: bytes) -> RequestError:
        limits = self._limits
        if len(url) > limits.url_bytes:
            return UrlTooLongError(details={"limit_bytes": limits.url_bytes})
        return HeadTooLargeError(details={"limit_bytes": limits.head_bytes, "limit_headers": limits.headers})


def _measure(headers: Headers) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def describe_garbage(error: httptools.HttpParserError) -> RequestError:
    """Returns what to say of bytes that cannot be parsed; the parser's own reasons are fixed texts without input."""
    reason = f": {error}" if type(error) is httptools.HttpParserError else ""
    return RequestError(f"{_NOT_HTTP}{reason}.")


def find_unknown_method(data: bytes) -> tuple[str, bytes] | None:
    """Returns method and target of a request that cannot be parsed for its method alone: that is a 404 or 405."""
    found = _find_request_line(data)
    # Garbage after whole requests in the same piece is none of theirs.
    if found is None or _is_known_method(found[0]):
        return None
    return found[1].decode("ascii"), found[2]


def _is_known_method(request_line: bytes) -> bool:
    try:
        httptools.HttpRequestParser(object()).feed_data(request_line)
    except httptools.HttpParserInvalidMethodError:
        return False
    return True
