"""Whether a worker is ending, and how: the one place in a worker that says so. Pure."""

from typing import Literal

Phase = Literal["no", "stop", "replace"]


class Draining:
    """True once the worker is ending.

    `stop`: the mock ends; what is in flight may finish, everything new is refused. `replace`: another worker has the
    port now; what comes on open connections is still served, each request the last of its connection.
    """

    __slots__ = ("phase",)

    def __init__(self) -> None:
        self.phase: Phase = "no"

    def __bool__(self) -> bool:
        return self.phase != "no"

    def begin(self, phase: Literal["stop", "replace"]) -> None:
        """Begins to end; a worker that is being replaced can still be told to stop, never the other way round."""
        if self.phase != "stop":
            self.phase = phase
