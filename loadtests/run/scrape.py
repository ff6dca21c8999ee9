"""Reads the target's own metrics through a run, whether or not a Prometheus is there."""

import threading
import time
from collections.abc import Callable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from loadtests.run.fetch import fetch
from loadtests.stacks import MetricSource

TIMEOUT_S = 2.0


def parse_sample(text: str, sources: Mapping[str, MetricSource]) -> dict[str, float]:
    """Canonical values found in a Prometheus text exposition; a metric that is not there is left out, never 0."""
    found: dict[str, list[float]] = {}
    by_name: dict[str, list[tuple[str, MetricSource]]] = {}
    for canonical, source in sources.items():
        by_name.setdefault(source.sample, []).append((canonical, source))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for canonical, source in by_name.get(sample.name, ()):
                if all(sample.labels.get(label) in wanted for label, wanted in source.labels.items()):
                    found.setdefault(canonical, []).append(float(sample.value))
    return {name: (max if sources[name].join == "max" else sum)(values) for name, values in found.items()}


def scrape(url: str, sources: Mapping[str, MetricSource], timeout_s: float = TIMEOUT_S) -> dict[str, float]:
    """One scrape of `url`; raises OSError when the target does not answer, ValueError when it answers nonsense."""
    status, body = fetch(url, timeout_s)
    if status != 200:
        raise ValueError(f"{url} says {status}, want 200")
    return parse_sample(body.decode(), sources)


class Scraper:
    """Scrapes once a second in a thread of its own and hands each sample on; a failed scrape is a gap, not a zero."""

    def __init__(
        self,
        url: str,
        sources: Mapping[str, MetricSource],
        deliver: Callable[[float, dict[str, float]], None],
        interval_s: float = 1.0,
    ) -> None:
        self._url = url
        self._sources = sources
        self._deliver = deliver
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="scraper", daemon=True)

    def start(self) -> None:
        """Begins scraping."""
        self._thread.start()

    def stop(self) -> None:
        """Ends scraping; returns when the last scrape is over."""
        self._stop.set()
        self._thread.join(TIMEOUT_S + self._interval_s)

    def _loop(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                sample = scrape(self._url, self._sources)
            except (OSError, ValueError):
                sample = {}
            if sample:
                self._deliver(time.time(), sample)
            due = max(due + self._interval_s, time.monotonic())
            self._stop.wait(due - time.monotonic())
