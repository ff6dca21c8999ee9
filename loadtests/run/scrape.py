"""Reads the target's own metrics through a run, whether or not a Prometheus is there."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families

from loadtests.run.fetch import fetch
from loadtests.stacks import MetricSource

TIMEOUT_S = 2.0
# Beside the sum of a counter over several instances stands each one's own: `requests_total@0`. A restart shows there
# only, where the others have grown by more meanwhile.
INSTANCE_MARK = "@"


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
    return {name: _join(name, values, sources) for name, values in found.items()}


def _join(name: str, values: Sequence[float], sources: Mapping[str, MetricSource]) -> float:
    return (max if sources[name].join == "max" else sum)(values)


def join_samples(samples: Sequence[Mapping[str, float]], sources: Mapping[str, MetricSource]) -> dict[str, float]:
    """The sample of a target of which each instance gave one of `samples`; each one's own counters stand beside."""
    if len(samples) == 1:
        return dict(samples[0])
    names = {name: None for sample in samples for name in sample}
    joined = {name: _join(name, [sample[name] for sample in samples if name in sample], sources) for name in names}
    for number, sample in enumerate(samples):
        counters = {name: value for name, value in sample.items() if name.endswith("_total")}
        joined |= {f"{name}{INSTANCE_MARK}{number}": value for name, value in counters.items()}
    return joined


def scrape(
    urls: Sequence[str], sources: Mapping[str, MetricSource], timeout_s: float = TIMEOUT_S
) -> dict[str, float]:
    """One scrape of every instance of a target.

    Raises OSError when one does not answer, ValueError when it answers nonsense: a sum that lacks one is no sum.
    """
    samples = []
    for url in urls:
        status, body = fetch(url, timeout_s)
        if status != 200:
            raise ValueError(f"{url} says {status}, want 200")
        samples.append(parse_sample(body.decode(), sources))
    return join_samples(samples, sources)


class Scraper:
    """Scrapes once a second in a thread of its own and hands each sample on; a failed scrape is a gap, not a zero."""

    def __init__(
        self,
        urls: Sequence[str],
        sources: Mapping[str, MetricSource],
        deliver: Callable[[float, dict[str, float]], None],
        interval_s: float = 1.0,
    ) -> None:
        self._urls = urls
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
                sample = scrape(self._urls, self._sources)
            except (OSError, ValueError):
                sample = {}
            if sample:
                self._deliver(time.time(), sample)
            due = max(due + self._interval_s, time.monotonic())
            self._stop.wait(due - time.monotonic())
