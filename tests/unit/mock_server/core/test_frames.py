import pytest
from websockets.frames import Close, Frame
from websockets.streams import StreamReader

from mock_server.core.frames import CLOSE, PING, TEXT, build_close_frame, build_frame, build_text_frame


def parse(data: bytes) -> Frame:
    """Parses with the library, as an independent reader."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert not reader.buffer
    frame: Frame = done.value.value
    return frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_text_of_every_header_length_reads_back(size: int) -> None:
    frame = parse(build_text_frame(b"x" * size))
    assert (frame.opcode, frame.fin, len(frame.data)) == (TEXT, True, size)


def test_close_frame_carries_code_and_reason() -> None:
    frame = parse(build_close_frame(1008, "Client too slow"))
    assert frame.opcode == CLOSE
    assert Close.parse(frame.data) == Close(1008, "Client too slow")


def test_reason_too_long_for_a_control_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 123 bytes; got 124"):
        build_close_frame(1000, "x" * 124)


def test_ping_is_two_bytes() -> None:
    assert build_frame(PING, b"") == b"\x89\x00"
