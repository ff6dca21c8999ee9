"""Messages to the parent process, through the pipe it opened; never blocks the loop that generates the load."""

import os
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from gevent.os import make_nonblocking, nb_write

from loadtests.wire import Message, encode

# About ten minutes of one message a second: a parent that reads nothing for so long records nothing either.
_MOST_WAITING = 1_000


class Writer:
    """A queue and the greenlet that empties it; `on_broken` is called once when nobody reads any more."""

    def __init__(self, fd: int | None, on_broken: Callable[[], None]) -> None:
        """Writes to `fd`, or nowhere when it is None."""
        self._fd = fd
        self._on_broken = on_broken
        self._queue: deque[bytes] = deque()
        self._filled, self._emptied = Event(), Event()
        self._emptied.set()
        self.is_broken = False
        self._greenlet: Any = None
        self._watcher: Any = None
        if fd is not None:
            make_nonblocking(fd)
            self._greenlet = gevent.spawn(self._write_all)
            self._watcher = gevent.spawn(self._watch_reader)

    @property
    def is_connected(self) -> bool:
        """True when a parent was given and still reads."""
        return self._fd is not None and not self.is_broken

    def send(self, message: Message) -> None:
        """Queues one message."""
        if not self.is_connected:
            return
        if len(self._queue) >= _MOST_WAITING:
            self._break()
            return
        self._queue.append(encode(message))
        self._emptied.clear()
        self._filled.set()

    def flush(self, timeout_s: float) -> None:
        """Waits until all is written, the pipe is broken, or the time is over."""
        if self.is_connected:
            self._emptied.wait(timeout_s)

    def close(self) -> None:
        """Ends the writing, whatever is still queued, and closes the pipe."""
        if self._fd is not None:
            self._greenlet.kill()
            self._watcher.kill()
            os.close(self._fd)
            self._fd = None

    def _write_all(self) -> None:
        assert self._fd is not None
        while True:
            self._filled.wait()
            while self._queue:
                data = self._queue[0]
                try:
                    while data:
                        data = data[nb_write(self._fd, data) :]
                except OSError:
                    self._break()
                    return
                self._queue.popleft()
            self._filled.clear()
            self._emptied.set()

    def _watch_reader(self) -> None:
        """Notices the end of a parent while there is nothing to write: the pipe then turns readable, as an error."""
        hub: Any = gevent.get_hub()
        watcher = hub.loop.io(self._fd, 1)
        try:
            hub.wait(watcher)
        finally:
            watcher.stop()
            watcher.close()
        self._break()

    def _break(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            self._queue.clear()
            self._emptied.set()
            self._on_broken()
