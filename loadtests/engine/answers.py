"""HTTP/1.1 answers from bytes: pure, strict about framing, bounded in size. Knows no socket."""

from collections.abc import Callable

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_LINE_BYTES = 4_096
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NO_BODY = frozenset({204, 304})

Receive = Callable[[], bytes]


class MalformedAnswerError(Exception):
    """The bytes received are not an HTTP/1.1 answer we may trust the framing of."""


class CutAnswerError(Exception):
    """The connection ended inside an answer; `received` bytes of it had come."""

    def __init__(self, received: int) -> None:
        super().__init__(f"connection closed by the target after {received} bytes" if received else "no answer")
        self.received = received


class Answer:
    """One final answer. `reusable` is False when the connection must not carry another request."""

    __slots__ = ("body", "head", "received", "reusable", "status")

    def __init__(self, status: int, head: bytes, body: bytes, received: int, reusable: bool) -> None:
        self.status = status
        self.head = head
        self.body = body
        self.received = received
        self.reusable = reusable

    def header(self, name: bytes) -> bytes | None:
        """The value of the first header of this lower-case name, stripped; None without it."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name:
                return value.strip()
        return None


def read_answer(receive: Receive) -> Answer:
    """Reads one final answer from `receive`, which returns the next bytes, empty at the end of the connection.

    Interim answers (1xx) are skipped. Raises CutAnswerError, and MalformedAnswerError when its end is ambiguous.
    """
    buffer, received = b"", 0
    while True:
        split = buffer.find(b"\r\n\r\n")
        while split < 0:
            if len(buffer) > MAX_HEAD_BYTES:
                raise MalformedAnswerError(f"head of over {MAX_HEAD_BYTES} bytes")
            data = receive()
            if not data:
                raise CutAnswerError(received)
            received += len(data)
            searched = max(0, len(buffer) - 3)
            buffer += data
            split = buffer.find(b"\r\n\r\n", searched)
        if split > MAX_HEAD_BYTES:
            raise MalformedAnswerError(f"head of over {MAX_HEAD_BYTES} bytes")
        head, rest = buffer[:split], buffer[split + 4 :]
        status, length, chunked, keep = _parse_head(head)
        if status >= 200:
            break
        if status == 101:
            raise MalformedAnswerError("status 101 to a request that asked for no upgrade")
        buffer = rest
    if status in _NO_BODY:
        length, chunked = 0, False
    if chunked:
        body, rest, received = _read_chunks(rest, received, receive)
    elif length is None:
        body, received = _read_to_end(rest, received, receive)
        rest, keep = b"", False
    else:
        if len(rest) < length:
            rest, received = _read_at_least(rest, length, received, receive)
        body, rest = rest[:length], rest[length:]
    # Bytes after the answer were not asked for; the next request must not take them for its own answer.
    return Answer(status, head, body, received, keep and not rest)


def _parse_head(head: bytes) -> tuple[int, int | None, bool, bool]:
    """Status, content length (None: until the end), whether chunked, whether the connection stays open."""
    lines = head.split(b"\r\n")
    status_line = lines[0]
    version, code = status_line[:9], status_line[9:12]
    if version not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or not code.isdigit() or status_line[12:13] not in (b" ", b""):
        raise MalformedAnswerError(f"status line {status_line[:60]!r}")
    status = int(code)
    if status < 100:
        raise MalformedAnswerError(f"status {status}")
    length: int | None = None
    coding, connection = b"", b""
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if name == b"content-length":
            length = _parse_length(value.strip(b" \t"), length)
        elif name == b"transfer-encoding":
            coding += b"," + value.strip(b" \t").lower()
        elif name == b"connection":
            connection += b"," + value.lower()
        elif not colon or not name or not _TOKEN.issuperset(name):
            raise MalformedAnswerError(f"header line {line[:60]!r}")
    if coding not in (b"", b",chunked"):
        raise MalformedAnswerError(f"transfer coding {coding[1:60]!r}, want chunked")
    if coding and (length is not None or version == b"HTTP/1.0 "):
        raise MalformedAnswerError("transfer coding beside a content length, or in HTTP/1.0")
    options = [option.strip() for option in connection.split(b",")] if connection else []
    keep = b"close" not in options if version == b"HTTP/1.1 " else b"keep-alive" in options
    return status, length, bool(coding), keep


def _parse_length(value: bytes, before: int | None) -> int:
    if not value.isdigit() or len(value) > 18:
        raise MalformedAnswerError(f"content length {value[:40]!r}")
    length = int(value)
    if before is not None and before != length:
        raise MalformedAnswerError(f"content lengths {before} and {length}")
    if length > MAX_BODY_BYTES:
        raise MalformedAnswerError(f"body of {length} bytes, want at most {MAX_BODY_BYTES}")
    return length


def _read_at_least(data: bytes, wanted: int, received: int, receive: Receive) -> tuple[bytes, int]:
    parts, size = [data], len(data)
    while size < wanted:
        more = receive()
        if not more:
            raise CutAnswerError(received)
        received += len(more)
        size += len(more)
        parts.append(more)
    return b"".join(parts), received


def _read_to_end(data: bytes, received: int, receive: Receive) -> tuple[bytes, int]:
    parts, size = [data], len(data)
    while more := receive():
        received += len(more)
        size += len(more)
        if size > MAX_BODY_BYTES:
            raise MalformedAnswerError(f"body of over {MAX_BODY_BYTES} bytes")
        parts.append(more)
    return b"".join(parts), received


def _read_chunks(data: bytes, received: int, receive: Receive) -> tuple[bytes, bytes, int]:
    """The body, the bytes behind it, and the count of bytes received; extensions and trailers are dropped."""
    body: list[bytes] = []
    size = 0
    while True:
        line, data, received = _read_line(data, received, receive)
        digits = line.partition(b";")[0].strip(b" \t")
        if not digits or len(digits) > 16 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            raise MalformedAnswerError(f"chunk size {line[:40]!r}")
        length = int(digits, 16)
        if length == 0:
            break
        size += length
        if size > MAX_BODY_BYTES:
            raise MalformedAnswerError(f"body of over {MAX_BODY_BYTES} bytes")
        data, received = _read_at_least(data, length + 2, received, receive)
        if data[length : length + 2] != b"\r\n":
            raise MalformedAnswerError("chunk that does not end where its size says")
        body.append(data[:length])
        data = data[length + 2 :]
    trailers = 0
    while True:
        line, data, received = _read_line(data, received, receive)
        if not line:
            return b"".join(body), data, received
        trailers += len(line)
        if trailers > MAX_HEAD_BYTES:
            raise MalformedAnswerError(f"trailers of over {MAX_HEAD_BYTES} bytes")


def _read_line(data: bytes, received: int, receive: Receive) -> tuple[bytes, bytes, int]:
    while (end := data.find(b"\r\n")) < 0:
        if len(data) > _MAX_LINE_BYTES:
            raise MalformedAnswerError(f"line of over {_MAX_LINE_BYTES} bytes")
        more = receive()
        if not more:
            raise CutAnswerError(received)
        received += len(more)
        data += more
    return data[:end], data[end + 2 :], received
