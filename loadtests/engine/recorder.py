"""The truth about a run: the ledger of each stage, and what ended per stage and request. Takes no time of its own.

The path of a request only appends numbers to one array; they are folded in bulk, so that memory does not grow with
the length of the run and a histogram costs nothing per request.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from loadtests.engine.histogram import Counts, count_seconds, empty_counts, encode_counts
from loadtests.wire import FailureDelta, FailureKind, RequestDelta, StageDelta

LATE_S = 0.010
_LAG_S = 0.010
_LAG_PART = 0.1
_COLUMNS = 9
_MOST_DETAILS = 50

LagOf = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Outcome(IntEnum):
    """How a request ended.

    `TIMED_OUT` counts in the histograms with the time it was waited for, a lower bound of its latency: leaving it out
    would make a frozen target look fast. `NO_ANSWER` (a broken connection) has no time to count.
    """

    OK = 0
    REFUSED = 1
    FAILED = 2
    NO_ANSWER = 3
    TIMED_OUT = 4


@dataclass
class Cell:
    """What ended for one request in one stage since the last flush."""

    stage: int
    request: str
    finished: int = 0
    refused: int = 0
    failed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[tuple[FailureKind, str]] = field(default_factory=Counter)
    latency: Counts = field(default_factory=empty_counts)
    service_time: Counts = field(default_factory=empty_counts)

    def to_wire(self) -> RequestDelta:
        """The delta as it travels."""
        histograms = {}
        if self.latency.any():
            histograms = {"latency": encode_counts(self.latency), "service_time": encode_counts(self.service_time)}
        return RequestDelta(
            finished=self.finished,
            refused=self.refused,
            failed=self.failed,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            failures=[FailureDelta(kind, detail, count) for (kind, detail), count in self.failures.items()],
            statuses={str(status): count for status, count in self.statuses.items()},
            histograms=histograms,
        )


@dataclass(frozen=True)
class Flushed:
    """Everything that happened between two flushes: as it travels, and the cells it was made of."""

    stages: dict[str, StageDelta]
    cells: list[Cell]


class Recorder:
    """Counts starts as they happen and ends in bulk; stages and requests are small integers on the hot path."""

    def __init__(self, stages: Sequence[str], requests: Sequence[str], lag_of: LagOf) -> None:
        """`lag_of` gives the loop's lag, in seconds, at each of many moments."""
        self._stages = tuple(stages)
        self._requests = tuple(requests)
        self._lag_of = lag_of
        self._rows = array("d")
        self._cells: dict[int, Cell] = {}
        self._late = [0] * len(stages)
        self._suspect = [0] * len(stages)
        self._late_drops = [0] * len(stages)
        self._details: set[tuple[int, str]] = set()
        self.scheduled = [0] * len(stages)
        self.started = [0] * len(stages)
        self.dropped = [0] * len(stages)
        self.cut_off = [0] * len(stages)
        self.in_flight = 0

    def end(
        self,
        stage: int,
        request: int,
        latency_s: float,
        service_s: float,
        late_s: float,
        ended_s: float,
        status: int,
        sent: int,
        received: int,
        outcome: Outcome,
    ) -> None:
        """Records the end of a request that was started; `status` 0 is none."""
        self.in_flight -= 1
        key = stage * len(self._requests) + request
        self._rows.extend((key, latency_s, service_s, late_s, ended_s, status, sent, received, outcome))

    def explain(self, stage: int, request: int, kind: FailureKind, detail: str) -> None:
        """Counts the cause of a failure beside its `end`; a request's distinct details are bounded."""
        detail = detail[:200]
        known = (request, detail)
        if known not in self._details:
            if sum(1 for one, _ in self._details if one == request) >= _MOST_DETAILS:
                detail = "other details"
            else:
                self._details.add(known)
        self._cell(stage * len(self._requests) + request).failures[(kind, detail)] += 1

    def drop(self, stage: int, late_s: float) -> None:
        """Records that an arrival found no room; noticed late, it may be the generator that was too slow for it."""
        self.dropped[stage] += 1
        if late_s > LATE_S:
            self._late_drops[stage] += 1

    def cut(self, stage: int, late_s: float) -> None:
        """Records that a started request was cut off by the end of the run."""
        self.in_flight -= 1
        self.cut_off[stage] += 1
        if late_s > LATE_S:
            self._late[stage] += 1
            self._suspect[stage] += 1

    def fold(self) -> None:
        """Turns the ends recorded so far into counts."""
        if not self._rows:
            return
        rows = np.array(self._rows).reshape(-1, _COLUMNS)
        del self._rows[:]
        keys = rows[:, 0].astype(np.int64)
        for key in np.unique(keys):
            self._fold_cell(int(key), rows[keys == key])

    def _fold_cell(self, key: int, rows: NDArray[np.float64]) -> None:
        cell = self._cell(key)
        latency_s, service_s, late_s, ended_s, status, sent, received, outcome = rows[:, 1:].T
        kinds = np.bincount(outcome.astype(np.int64), minlength=len(Outcome))
        cell.finished += int(kinds[Outcome.OK] + kinds[Outcome.REFUSED])
        cell.refused += int(kinds[Outcome.REFUSED])
        cell.failed += int(kinds[Outcome.FAILED] + kinds[Outcome.NO_ANSWER] + kinds[Outcome.TIMED_OUT])
        cell.bytes_sent += int(sent.sum())
        cell.bytes_received += int(received.sum())
        timed = outcome != Outcome.NO_ANSWER
        answered = timed & (outcome != Outcome.TIMED_OUT)
        for code, count in zip(*np.unique(status[answered].astype(np.int64), return_counts=True), strict=True):
            cell.statuses[int(code)] += int(count)
        cell.latency += count_seconds(latency_s[timed])
        cell.service_time += count_seconds(service_s[timed])
        lag_s = self._lag_of(ended_s)
        late = late_s > LATE_S
        suspect = late | ((lag_s > _LAG_S) & (lag_s > _LAG_PART * latency_s))
        self._late[cell.stage] += int(late.sum())
        self._suspect[cell.stage] += int(suspect.sum())

    def _cell(self, key: int) -> Cell:
        cell = self._cells.get(key)
        if cell is None:
            stage, request = divmod(key, len(self._requests))
            cell = self._cells[key] = Cell(stage, self._requests[request])
        return cell

    def flush(self, *, is_busy: bool = False) -> Flushed:
        """The deltas since the last flush; only stages in which something happened.

        `is_busy`: the generator had no time left, so that every drop may be its own: too slow to read an answer, it
        finds no room where the target had made some.
        """
        self.fold()
        cells = list(self._cells.values())
        self._cells = {}
        stages = {}
        for index, name in enumerate(self._stages):
            requests = {cell.request: cell.to_wire() for cell in cells if cell.stage == index}
            dropped, late_drops = _take(self.dropped, index), _take(self._late_drops, index)
            delta = StageDelta(
                scheduled=_take(self.scheduled, index),
                started=_take(self.started, index),
                dropped=dropped,
                cut_off=_take(self.cut_off, index),
                late=_take(self._late, index),
                suspect=_take(self._suspect, index) + (dropped if is_busy else late_drops),
                requests=requests,
            )
            if requests or delta.scheduled or delta.started or delta.dropped or delta.cut_off:
                stages[name] = delta
        return Flushed(stages, cells)


def _take(counter: list[int], index: int) -> int:
    count, counter[index] = counter[index], 0
    return count
