"""What a WebSocket endpoint asks of its connection beyond ASGI: many frames in one write, bounds, the end of it."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

# Where the connection stands in a WebSocket scope's `extensions`.
WIRE = "mock.wire"


@dataclass(frozen=True, slots=True)
class WireLimits:
    """At most `max_frames` wait for a client; one that takes nothing off for `send_timeout_s` is too slow."""

    max_frames: int
    send_timeout_s: float


class Listener(Protocol):
    """What the connection tells its endpoint, each at most once."""

    def on_slow(self, reason: str) -> None:
        """The client was too slow and is being closed; `reason` is one of metrics.SLOW_REASONS."""

    def on_drain(self) -> None:
        """The worker was told to stop; the endpoint closes the connection when nothing of it runs any more."""

    def on_end(self) -> None:
        """Nothing can be sent any more, whoever ended it; `receive` returns the disconnect next."""


class Wire(Protocol):
    """One accepted connection."""

    def attach(self, listener: Listener, limits: WireLimits) -> None:
        """Sets bounds and whom to tell; before the connection is accepted."""

    def send_frames(self, frames: Sequence[bytes]) -> Awaitable[None]:
        """Sends frames in order, as few writes as can be; waits for room. Raises ClientGoneError once it ended."""

    def has_left(self) -> bool:
        """Returns whether the client has gone, which `receive` says only behind the messages it sent before."""

    def close(self, code: int, reason: str) -> None:
        """Ends the connection behind the frames already given; returns at once."""
