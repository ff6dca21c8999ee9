"""Totals to statistics: per stage, per request and over the run (warm-up excepted), as deep as the sample allows."""

from collections.abc import Iterable, Iterator

from loadtests.results.fold import RequestTotals, StageTotals, Tally
from loadtests.results.histograms import Distribution
from loadtests.results.model import StatisticsRow, Timing
from loadtests.results.thresholds import needed_samples

PERCENTILES = (50.0, 66.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.9, 99.99)
_CURVE = (
    0.0, 1.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0, 22.5, 25.0, 30.0, 35.0, 40.0, 50.0, 60.0, 70.0, 75.0,
    80.0, 85.0, 90.0, 92.5, 95.0, 96.5, 97.5, 98.0, 98.5, 99.0, 99.25, 99.5, 99.7, 99.8, 99.9, 99.93, 99.96, 99.98,
    99.99,
)  # fmt: skip


def collect_totals(tally: Tally, stage: str | None, request: str | None) -> RequestTotals:
    """The totals of a scope; without `stage` all but warm-up, without `request` all requests."""
    totals = RequestTotals()
    for each in _scope_stages(tally, stage):
        for name, found in each.requests.items():
            if request is None or name == request:
                totals.merge(found)
    return totals


def scope_duration_s(tally: Tally, stage: str | None) -> float:
    """Real length of a stage, or of all judged stages together."""
    return sum(each.duration_s for each in _scope_stages(tally, stage))


def build_statistics(tally: Tally) -> tuple[StatisticsRow, ...]:
    """Rows over the run first, then stage by stage; in each the whole first, then request by request."""
    rows = list(_scope_rows(tally, None, tally.judged_stages))
    for stage in tally.stages.values():
        rows.extend(_scope_rows(tally, stage.name, [stage]))
    return tuple(rows)


def build_timing(distribution: Distribution, *, with_curve: bool = False) -> Timing:
    """The figures of one distribution, in seconds rounded to the microsecond."""
    count = distribution.count
    values = distribution.percentiles_s(PERCENTILES)
    deep = {
        f"p{p:g}": _micro(v) if count >= needed_samples(p) else None for p, v in zip(PERCENTILES, values, strict=True)
    }
    curve = [p for p in _CURVE if with_curve and count and (p == 0 or count >= needed_samples(p))]
    points = zip(curve, distribution.percentiles_s(curve), strict=True)
    return Timing(
        count=count,
        min_s=_micro(distribution.min_s),
        mean_s=_micro(distribution.mean_s),
        max_s=_micro(distribution.max_s),
        percentiles_s=deep,
        curve=tuple((p, round(v, 6)) for p, v in points if v is not None),
    )


def _scope_stages(tally: Tally, stage: str | None) -> list[StageTotals]:
    return tally.judged_stages if stage is None else [tally.stages[stage]]


def _scope_rows(tally: Tally, stage: str | None, stages: Iterable[StageTotals]) -> Iterator[StatisticsRow]:
    names = sorted({name for each in stages for name in each.requests})
    yield _row(tally, stage, None)
    for name in names:
        yield _row(tally, stage, name)


def _row(tally: Tally, stage: str | None, request: str | None) -> StatisticsRow:
    totals = collect_totals(tally, stage, request)
    duration_s = scope_duration_s(tally, stage)
    count = totals.finished + totals.failed
    return StatisticsRow(
        stage=stage,
        request=request,
        warmup=stage in tally.warmup_stages,
        duration_s=round(duration_s, 6),
        count=count,
        finished=totals.finished,
        refused=totals.refused,
        failed=totals.failed,
        rate=round(totals.finished / duration_s, 6) if duration_s else None,
        error_ratio=round(totals.failed / count, 9) if count else None,
        bytes_sent=totals.bytes_sent,
        bytes_received=totals.bytes_received,
        statuses=dict(sorted(totals.statuses.items())),
        timings={
            metric: build_timing(totals.distributions[metric], with_curve=request is None)
            for metric in sorted(totals.distributions)
        },
    )


def _micro(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s, 6)
