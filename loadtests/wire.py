"""The seam between load and results: messages a generating process writes, one JSON object a line.

The generator does no file I/O: it measures, and once a second writes what happened in that second as *deltas*. The
parent folds them into the run folder. Histograms travel as HdrHistogram V2 compressed base64 (the payload of an
.hlog line), values in microseconds, so that workers merge bit for bit and any percentile can be recomputed.
Times ending in `_s` are seconds since the run's start on the generator's monotonic clock, unless named `unix`.
"""

from typing import Any, Literal

import msgspec

HISTOGRAM_LOWEST_US = 10
HISTOGRAM_HIGHEST_US = 300_000_000
HISTOGRAM_DIGITS = 3

FailureKind = Literal["injected", "timeout", "connection", "wrong_status", "wrong_body", "cut_stream"]


class FailureDelta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of failure of one request name: how many, and one sample message (200 characters at most)."""

    kind: FailureKind
    detail: str
    count: int


class RequestDelta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ended in this interval for one request name.

    `finished` counts successes, `refused` expected refusals (part of finished), `failed` failures. Histograms hold
    what got an answer, good or bad, and what timed out (with the time it was waited for); keys: `latency` (from the
    intended start), `service_time` (from the actual start), later `ttft`, `gap`.
    """

    finished: int
    refused: int
    failed: int
    bytes_sent: int
    bytes_received: int
    failures: list[FailureDelta]
    statuses: dict[str, int]
    histograms: dict[str, str]


class StageDelta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ledger of one stage in this interval; a request belongs to the stage its intended start lies in.

    `scheduled = started + dropped` and `started = finished + failed + cut_off` must hold over the whole run;
    finished and failed are the sums over `requests`.
    """

    scheduled: int
    started: int
    dropped: int
    cut_off: int
    late: int
    suspect: int
    requests: dict[str, RequestDelta]


class Started(msgspec.Struct, frozen=True, tag="started", forbid_unknown_fields=True):
    """First message: load begins now."""

    unix: float
    processes: int
    versions: dict[str, str]


class StageEvent(msgspec.Struct, frozen=True, tag="stage", forbid_unknown_fields=True):
    """A stage began or ended, as it really was."""

    stage: str
    event: Literal["begin", "end"]
    at_s: float


class Interval(msgspec.Struct, frozen=True, tag="interval", forbid_unknown_fields=True):
    """One second (about) of one generating process; `start_s`..`end_s` are as measured."""

    worker: str
    start_s: float
    end_s: float
    stage: str | None
    asked_rate: float | None
    users: int
    in_flight: int
    loop_lag_max_s: float
    cpu_ratio: float
    stages: dict[str, StageDelta]


class Alarm(msgspec.Struct, frozen=True, tag="alarm", forbid_unknown_fields=True):
    """Something the watchdog or the runner saw that a reader of the result must know."""

    at_s: float
    kind: str
    detail: str


class Arrivals(msgspec.Struct, frozen=True, tag="arrivals", forbid_unknown_fields=True):
    """Self-test of the arrival process as drawn, per open stage and worker (None: too few to say)."""

    worker: str
    stage: str
    count: int
    rate_ratio: float | None
    gap_variation: float | None
    lag1_correlation: float | None
    dispersion: float | None


class Ended(msgspec.Struct, frozen=True, tag="ended", forbid_unknown_fields=True):
    """Last message; without it the generator died."""

    at_s: float
    reason: Literal["completed", "stopped"]


Message = Started | StageEvent | Interval | Alarm | Arrivals | Ended

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """One line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line; raises msgspec.ValidationError when it is none."""
    message: Message = _decoder.decode(line)
    return message
