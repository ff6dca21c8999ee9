"""Answers from bytes, in any pieces: well-formed ones whole, hostile ones refused, none mistaken for another."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.engine.answers import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Answer,
    CutAnswerError,
    MalformedAnswerError,
    read_answer,
)

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;name=value\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN


def receiving(data: bytes, *cuts: int) -> Callable[[], bytes]:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    pieces = iter([data[start:end] for start, end in pairwise(edges)])
    return lambda: next(pieces, b"")


def read(data: bytes, *cuts: int) -> Answer:
    return read_answer(receiving(data, *cuts))


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, INTERIM], ids=["plain", "chunked", "interim"])
@given(cuts=st.lists(st.integers(1, 150), max_size=12))
def test_an_answer_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    answer = read(data, *cuts)
    assert (answer.status, answer.body, answer.reusable) == (200, b"hello", True)


def test_every_byte_is_counted() -> None:
    for data in (PLAIN, CHUNKED, INTERIM):
        assert read(data, 10, 40, 90).received == len(data)


def test_headers_are_found_whatever_their_case() -> None:
    answer = read(b"HTTP/1.1 500 No\r\nX-Mock-FAULT:  error \r\nContent-Length: 0\r\n\r\n")
    assert answer.header(b"x-mock-fault") == b"error"
    assert answer.header(b"x-other") is None


@pytest.mark.parametrize(
    ("data", "body", "reusable"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, CLOSE\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    ],
)
def test_framing_and_keep_alive(data: bytes, body: bytes, reusable: bool) -> None:
    answer = read(data)
    assert (answer.body, answer.reusable) == (body, reusable)


@pytest.mark.parametrize("data", [PLAIN, CHUNKED], ids=["plain", "chunked"])
def test_bytes_behind_an_answer_make_the_connection_unusable(data: bytes) -> None:
    assert read(data).reusable
    answer = read(data + PLAIN)
    assert (answer.body, answer.reusable) == (b"hello", False)


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, INTERIM], ids=["plain", "chunked", "interim"])
def test_an_answer_cut_anywhere_is_never_a_success(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(CutAnswerError) as caught:
            read(data[:length], 3, 50)
        assert caught.value.received == length


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"x" * (MAX_HEAD_BYTES + 10),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 6000,
    ],
)
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        read(data, 1, 60)


def test_endless_heads_and_trailers_are_given_up() -> None:
    endless = iter(lambda: b"X-More: of the same\r\n", b"")
    with pytest.raises(MalformedAnswerError, match="head"):
        read_answer(lambda: next(endless))
    start = iter([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"])
    with pytest.raises(MalformedAnswerError, match="trailers"):
        read_answer(lambda: next(start, b"X-More: of the same\r\n"))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            read(prefix + data, 5, 100)
        except (CutAnswerError, MalformedAnswerError):
            continue
