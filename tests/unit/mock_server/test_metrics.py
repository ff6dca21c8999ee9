"""Gaps observed a run at a time are what the library would have counted one by one."""

import random

from prometheus_client import CollectorRegistry, Histogram

from mock_server.metrics import SHORT_BUCKETS_S, TokenGaps


def test_runs_of_gaps_count_as_single_ones_would() -> None:
    registry = CollectorRegistry()
    runs, single = (Histogram(name, "", buckets=SHORT_BUCKETS_S, registry=registry) for name in ("runs", "single"))
    rng, gaps = random.Random(1), TokenGaps(runs)
    edges = [0.0, 9.0, *SHORT_BUCKETS_S]
    for number in range(2000):
        gap_s = None if number % 10 == 0 else rng.choice([rng.expovariate(100), rng.choice(edges)])
        more = rng.choice([0, 0, 5])
        gaps.observe(gap_s, more)
        for value in [*([] if gap_s is None else [gap_s]), *[0.0] * more]:
            single.observe(value)

    def samples(name: str) -> list[tuple[str, float]]:
        (family,) = [family for family in registry.collect() if family.name == name]
        return [
            (sample.name.removeprefix(name) + str(sample.labels), round(sample.value, 9))
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]

    assert samples("runs") == samples("single")
