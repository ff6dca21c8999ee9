"""Thresholds to outcomes: each judged on its own scope. No data and too few samples are never a pass."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from loadtests.model import Threshold
from loadtests.results.fold import Tally
from loadtests.results.formats import format_count, format_quantity
from loadtests.results.histograms import Distribution, is_same_bucket
from loadtests.results.model import Outcome, ThresholdOutcome
from loadtests.results.statistics import collect_totals, scope_duration_s
from loadtests.results.thresholds import LEDGER_METRICS, RATIO_METRICS, Condition, parse_condition

_LEDGER_RATIOS = {"late_ratio": "late", "dropped_ratio": "dropped"}


@dataclass(frozen=True)
class _Reading:
    """A measured value with the samples it stands on; `value` None with `why` when there is none.

    `dropped` arrivals are taken as never answered; a percentile that lies among them is endless.
    """

    value: float | None
    samples: int
    why: str = ""
    dropped: int = 0


def judge_thresholds(tally: Tally, target_values: Mapping[str, float]) -> tuple[ThresholdOutcome, ...]:
    """Every threshold of the profile, in its order."""
    return tuple(judge_threshold(tally, each, target_values) for each in tally.plan.profile.thresholds)


def judge_threshold(tally: Tally, threshold: Threshold, target_values: Mapping[str, float]) -> ThresholdOutcome:
    """One threshold against what was measured; exactly at the limit `<` fails and `<=` passes."""
    condition = parse_condition(threshold.check)
    reading = _read(tally, threshold, condition, target_values)
    needed = threshold.min_samples or condition.needed_samples
    outcome, why = _decide(condition, reading, needed)
    return ThresholdOutcome(
        check=condition.text,
        stage=threshold.stage,
        request=threshold.request,
        hard=threshold.hard,
        outcome=outcome,
        value=None if reading.value is None or math.isinf(reading.value) else round(reading.value, 9),
        limit=condition.limit,
        unit=condition.unit,
        samples=reading.samples,
        needed_samples=needed,
        why=why,
    )


def _decide(condition: Condition, reading: _Reading, needed: int) -> tuple[Outcome, str]:
    if reading.value is None:
        return ("not_measured" if condition.is_target else "insufficient"), reading.why
    if reading.samples + reading.dropped < needed:
        return "insufficient", f"{format_count(reading.samples)} samples, {format_count(needed)} needed to judge it"
    if math.isinf(reading.value):
        outcome: Outcome = "fail" if condition.operator in {"<", "<=", "=="} else "insufficient"
        return outcome, f"lies among the {format_count(reading.dropped)} dropped arrivals, which nobody answered"
    value = reading.value
    is_at_limit = condition.statistic is not None and is_same_bucket(value, condition.limit)
    holds = condition.holds(condition.limit if is_at_limit else value)
    measured = format_quantity(value, condition.unit)
    limit = format_quantity(condition.limit, condition.unit)
    suffix = ", exactly at the limit" if is_at_limit or value == condition.limit else ""
    suffix += f", {format_count(reading.dropped)} dropped arrivals taken as never answered" if reading.dropped else ""
    return ("pass" if holds else "fail"), f"measured {measured}, wanted {condition.operator} {limit}{suffix}"


def _read(tally: Tally, threshold: Threshold, condition: Condition, target_values: Mapping[str, float]) -> _Reading:
    if condition.is_target:
        return _read_target(condition, target_values)
    duration_s = scope_duration_s(tally, threshold.stage)
    if not duration_s:
        return _Reading(None, 0, "the stage never ran" if threshold.stage else "no judged stage ran")
    if condition.metric in LEDGER_METRICS:
        return _read_ledger(tally, threshold, condition)
    return _read_requests(tally, threshold, condition, duration_s)


def _read_target(condition: Condition, target_values: Mapping[str, float]) -> _Reading:
    value = target_values.get(condition.metric.removeprefix("target."))
    if value is None:
        return _Reading(None, 0, "the target's metrics gave no such value; it does not judge")
    return _Reading(value, 1)


def _read_ledger(tally: Tally, threshold: Threshold, condition: Condition) -> _Reading:
    if threshold.request is not None:
        return _Reading(None, 0, f"{condition.metric} is counted per stage, not per request; leave `request` out")
    stages = tally.judged_stages if threshold.stage is None else [tally.stages[threshold.stage]]
    whole = sum(stage.started if condition.metric == "late_ratio" else stage.scheduled for stage in stages)
    if not whole:
        return _Reading(None, 0, "nothing was scheduled")
    name = _LEDGER_RATIOS.get(condition.metric, condition.metric)
    value = sum(int(getattr(stage, name)) for stage in stages)
    return _Reading(value / whole if condition.metric in _LEDGER_RATIOS else value, whole)


def _read_requests(tally: Tally, threshold: Threshold, condition: Condition, duration_s: float) -> _Reading:
    totals = collect_totals(tally, threshold.stage, threshold.request)
    count = totals.finished + totals.failed
    if not count:
        return _read_nothing(tally, threshold, condition)
    if condition.statistic is not None:
        return _read_timing(totals.distributions.get(condition.metric), condition, _dropped(tally, threshold))
    if condition.metric == "rate":
        return _Reading(totals.finished / duration_s, count)
    values = {"finished": totals.finished, "failed": totals.failed, "refused": totals.refused}
    if condition.metric in RATIO_METRICS:
        return _Reading((totals.failed if condition.metric == "error_ratio" else totals.refused) / count, count)
    return _Reading(values[condition.metric], count)


def _dropped(tally: Tally, threshold: Threshold) -> int:
    """Dropped arrivals of a scope; none of one request's, since an arrival is dropped before it has a name."""
    stages = tally.judged_stages if threshold.stage is None else [tally.stages[threshold.stage]]
    return 0 if threshold.request is not None else sum(stage.dropped for stage in stages)


def _read_timing(distribution: Distribution | None, condition: Condition, dropped: int) -> _Reading:
    if distribution is None or not distribution.count:
        return _Reading(None, 0, f"no {condition.metric} was measured")
    if condition.percentile is not None:
        if condition.metric != "latency":
            return _Reading(distribution.percentile_s(condition.percentile), distribution.count)
        value = distribution.percentile_s(condition.percentile, endless=dropped)
        return _Reading(value, distribution.count, dropped=dropped)
    values = {
        "min": distribution.min_s,
        "mean": distribution.mean_s,
        "median": distribution.percentile_s(50),
        "max": distribution.max_s,
    }
    return _Reading(values[condition.statistic or ""], distribution.count)


def _read_nothing(tally: Tally, threshold: Threshold, condition: Condition) -> _Reading:
    """Nothing ended: that breaks `finished > 0` where requests were started, and gives no other value."""
    stages = tally.judged_stages if threshold.stage is None else [tally.stages[threshold.stage]]
    started = sum(stage.started for stage in stages)
    if condition.metric == "finished" and started and not condition.holds(0):
        return _Reading(0, started)
    return _Reading(None, 0, _no_data(tally, threshold))


def _no_data(tally: Tally, threshold: Threshold) -> str:
    if threshold.request is None:
        return "no request ended"
    names = sorted({name for stage in tally.stages.values() for name in stage.requests})
    return f"no request {threshold.request!r} ended; there were: {', '.join(names) or 'none'}"
