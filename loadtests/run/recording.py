"""Follows one run while it happens: messages and samples into the tally and the folder, signals to the generator."""

import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from loadtests.errors import HarnessError
from loadtests.results.events import build_event
from loadtests.results.fold import Tally
from loadtests.results.store import RunFolder
from loadtests.run.generator import Generator
from loadtests.run.scrape import INSTANCE_MARK, Scraper, scrape
from loadtests.run.target import Target
from loadtests.wire import Interval, Message, Started

POLL_S = 0.25
SETTLE_S = 3.0
SETTLE_STEP_S = 0.1
REQUESTS = "requests_total"


def read_sample(target: Target) -> dict[str, float]:
    """The target's metrics now; empty where it gives none."""
    if not target.metrics_urls:
        return {}
    try:
        return scrape(target.metrics_urls, target.stack.metrics)
    except (OSError, ValueError):
        return {}


def _read_counts(sample: Mapping[str, float]) -> dict[str, float]:
    """The count of requests, of the target and of each of its instances."""
    return {name: value for name, value in sample.items() if name.partition(INSTANCE_MARK)[0] == REQUESTS}


class Recording:
    """One run as it is recorded; the only writer of what is appended to the folder while load runs."""

    def __init__(
        self, tally: Tally, folder: RunFolder, generator: Generator, target: Target, begin_sample: dict[str, float]
    ) -> None:
        """`begin_sample` is the target's metrics before the generator was started; empty where they were not read."""
        self.tally = tally
        self.folder = folder
        self._generator = generator
        self.target = target
        self._samples: queue.Queue[tuple[float, dict[str, float]]] = queue.Queue()
        self._is_over = False
        self._interruptions = 0
        self.is_asked_to_leave = False
        self._begin_sample = begin_sample
        self._end_sample: dict[str, float] = {}
        self._counted_last = _read_counts(begin_sample)
        self._has_restarted = False

    @property
    def is_interrupted(self) -> bool:
        """True when a person or the system asked this run to stop before it was over."""
        return self._interruptions > 0

    @property
    def has_started(self) -> bool:
        """True when the generator announced load."""
        return self.tally.started is not None

    @property
    def why_not_counted(self) -> str:
        """Why the target's own count of requests says nothing of this run; empty where it does."""
        if not self.target.metrics_urls:
            return "the address of the target's metrics is not known"
        if not self._begin_sample:
            return "the target's metrics were not read before the run"
        if REQUESTS not in self._end_sample:
            return "the target's count of requests was not read after the run"
        return (
            "the target's count of requests went backwards: it was restarted, or several instances answer in turn"
            if self._has_restarted
            else ""
        )

    def growth_of(self, counter: str) -> int | None:
        """How much a counter of the target grew over the run; None where that cannot be said."""
        if self.why_not_counted or counter not in self._end_sample:
            return None
        # A counter without any count yet is not in the exposition: before the first request its value is 0.
        return round(self._end_sample[counter] - self._begin_sample.get(counter, 0.0))

    def follow(self, show: Callable[[], None]) -> None:
        """Records until the generator ends or says that the run is over; `show` is called four times a second."""
        scraper = self._scraper()
        try:
            if scraper:
                scraper.start()
            while self._record_next() and self.tally.ended is None:
                show()
            self._is_over = True
        except BaseException:
            self._generator.kill()
            raise
        finally:
            if scraper:
                scraper.stop()
        self._record_samples()
        for point in self.tally.finish():
            self.folder.append_series(point)
        self._end_sample = self._settled_sample()
        self._watch_count(self._end_sample)

    def _record_next(self) -> bool:
        try:
            message = self._generator.messages.get(timeout=POLL_S)
        except queue.Empty:
            self._record_samples()
            return True
        if message is None:
            return False
        if isinstance(message, HarnessError):
            # Half a line is what a killed generator leaves behind; its missing last message judges the run.
            return True
        self._record(message)
        return True

    def _record(self, message: Message) -> None:
        self._record_samples()
        self.tally.add(message)
        if isinstance(message, Interval) and self.tally.started is not None:
            self.folder.append_histograms(message, self.tally.started.unix)
            for point in self.tally.closed_seconds():
                self.folder.append_series(point)
        event = build_event(message)
        if event is not None:
            self.folder.append_event(event)

    def _record_samples(self) -> None:
        started: Started | None = self.tally.started
        while started is not None:
            try:
                unix, sample = self._samples.get_nowait()
            except queue.Empty:
                return
            self._watch_count(sample)
            joined = {name: value for name, value in sample.items() if INSTANCE_MARK not in name}
            self.tally.add_target(unix - started.unix, joined)

    def _watch_count(self, sample: dict[str, float]) -> None:
        counted = _read_counts(sample)
        self._has_restarted |= any(value < self._counted_last.get(name, 0.0) for name, value in counted.items())
        self._counted_last |= counted

    def _scraper(self) -> Scraper | None:
        if not self.target.metrics_urls:
            return None
        deliver = self._samples.put
        return Scraper(
            self.target.metrics_urls, self.target.stack.metrics, lambda unix, sample: deliver((unix, sample))
        )

    def _settled_sample(self) -> dict[str, float]:
        """The target's counters once they cover what ended here; a server counts a request after its last byte."""
        totals = sum(stage.finished + stage.failed for stage in self.tally.stages.values())
        wanted = self._begin_sample.get(REQUESTS, 0.0) + totals
        deadline = time.monotonic() + SETTLE_S
        while True:
            sample = read_sample(self.target)
            if sample.get(REQUESTS, 0.0) >= wanted or time.monotonic() >= deadline:
                return sample
            time.sleep(SETTLE_STEP_S)

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Within it Ctrl-C and SIGTERM stop the load (twice: at once); after the load they cut nothing short."""
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_over:
            self.is_asked_to_leave = True
            return
        self._interruptions += 1
        if self._interruptions == 1:
            self._generator.stop()
        else:
            self._generator.kill()
