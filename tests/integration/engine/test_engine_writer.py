"""Messages through a real pipe: whole and in order, never blocking, and a parent that is gone is noticed."""

import fcntl
import os

import gevent

from loadtests import wire
from loadtests.engine.writer import Writer


def alarm(number: int) -> wire.Alarm:
    return wire.Alarm(float(number), "test", "x" * 500)


def test_messages_arrive_whole_and_in_order_although_the_pipe_is_small() -> None:
    reader, fd = os.pipe()
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    broken: list[bool] = []
    writer = Writer(fd, lambda: broken.append(True))
    for number in range(100):
        writer.send(alarm(number))
    os.set_blocking(reader, False)
    data = b""
    while data.count(b"\n") < 100:
        gevent.sleep(0)
        try:
            data += os.read(reader, 65536)
        except BlockingIOError:
            continue
    writer.flush(1.0)
    assert [wire.decode(line) for line in data.splitlines()] == [alarm(number) for number in range(100)]
    assert (broken, writer.is_connected) == ([], True)
    writer.close()
    os.close(reader)


def test_a_parent_that_is_gone_is_noticed_once() -> None:
    reader, fd = os.pipe()
    broken: list[bool] = []
    writer = Writer(fd, lambda: broken.append(True))
    os.close(reader)
    for number in range(3):
        writer.send(alarm(number))
        gevent.sleep(0)
    writer.flush(1.0)
    assert (broken, writer.is_connected) == ([True], False)
    writer.close()


def test_a_parent_that_reads_nothing_for_long_counts_as_gone() -> None:
    reader, fd = os.pipe()
    broken: list[bool] = []
    writer = Writer(fd, lambda: broken.append(True))
    for number in range(1100):
        writer.send(alarm(number))
    assert broken == [True]
    writer.close()
    os.close(reader)


def test_without_a_parent_nothing_is_written() -> None:
    writer = Writer(None, lambda: None)
    writer.send(alarm(1))
    writer.flush(0.1)
    assert not writer.is_connected
    writer.close()
