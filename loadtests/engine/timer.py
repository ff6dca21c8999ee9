"""Waiting until a moment of the monotonic clock, to the microsecond: the loop's own sleep rounds up to 1 ms."""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

_CLOCK_MONOTONIC = 1
_NONBLOCK = 0o4000
_CLOEXEC = 0o2000000
_ABSOLUTE = 1


class Timer(Protocol):
    """Waits for one greenlet at a time."""

    def wait_until(self, at_s: float) -> None:
        """Returns at `at_s` on `time.monotonic`, at once when that has passed; the loop turns at least once."""

    def close(self) -> None:
        """Gives back what the timer holds."""


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class TimerFd:
    """A Linux timerfd that the loop watches like a socket."""

    def __init__(self) -> None:
        """Raises OSError where the system has no timerfd."""
        library = ctypes.CDLL(None, use_errno=True)
        try:
            self._settime: Any = library.timerfd_settime
            fd = library.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
        except AttributeError as error:
            raise OSError("the C library has no timerfd") from error
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._fd: int = fd
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)
        self._hub: Any = gevent.get_hub()
        self._watcher: Any = self._hub.loop.io(fd, 1)

    def wait_until(self, at_s: float) -> None:
        value = self._spec.value
        value.seconds = int(at_s)
        # 0.0 would disarm the timer; one nanosecond after the clock's zero has long passed.
        value.nanoseconds = int((at_s - int(at_s)) * 1e9) or 1
        if self._settime(self._fd, _ABSOLUTE, self._reference, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._hub.wait(self._watcher)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


class SleepTimer:
    """The loop's own sleep, where there is no timerfd."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def wait_until(self, at_s: float) -> None:
        gevent.sleep(max(0.0, at_s - self._clock()))

    def close(self) -> None:
        return


def create_timer() -> Timer:
    """The most precise timer of this system."""
    return TimerFd() if sys.platform == "linux" else SleepTimer()
