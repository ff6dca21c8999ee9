"""What a fault proxy can do to a stream: toxiproxy's toxics with its names, attributes and units, and two of our own.

Times are milliseconds (the slicer's are microseconds) and rates kilobytes a second, as toxiproxy has them.
"""

from dataclasses import dataclass
from typing import Literal

Stream = Literal["upstream", "downstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic:
    """Acts on what the client sends (`upstream`) or gets; `toxicity` is the share of connections it acts on."""

    stream: Stream = "downstream"
    toxicity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Toxic):
    """Delays all data by `latency` ± `jitter`; order stays."""

    latency: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(Toxic):
    """Lets `rate` kilobytes (of 1,000) a second through on each connection."""

    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose(Toxic):
    """Delays the end of a stream."""

    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout(Toxic):
    """Drops all data and closes after `timeout`; 0 drops until removed, then closes, since order is lost."""

    timeout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPeer(Toxic):
    """Resets both sides `timeout` after the first data; the first `passes` bytes still get through (our own)."""

    timeout: float = 0.0
    passes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicer(Toxic):
    """Cuts data into pieces of `average_size` ± `size_variation` bytes, `delay` microseconds apart."""

    average_size: int
    size_variation: int = 0
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData(Toxic):
    """Closes once `bytes` have passed since it took hold of a connection."""

    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage(Toxic):
    """Our own: sends as many random bytes in place of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Toxic):
    """Our own, for Redis: every command is answered with the error `reply`, and not run."""

    reply: str
    stream: Stream = "upstream"
