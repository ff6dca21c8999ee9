"""The grammar of a threshold: one line of text to a Condition. Knows metrics and units, never a measured value."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from loadtests.quantities import parse_duration, parse_rate

Operator = Literal["<", "<=", ">", ">=", "=="]
Unit = Literal["s", "ratio", "/s", "count", "%", "MB", "number"]

TIMED_METRICS = ("latency", "service_time", "ttft", "gap")
RATIO_METRICS = ("error_ratio", "late_ratio", "refused_ratio", "dropped_ratio")
COUNT_METRICS = ("scheduled", "started", "finished", "failed", "refused", "dropped", "cut_off", "late")
# Counted before a request has a name.
LEDGER_METRICS = ("scheduled", "started", "dropped", "cut_off", "late", "late_ratio", "dropped_ratio")
AGGREGATES = ("min", "mean", "median", "max")
TARGET_PREFIX = "target."

_CONFIDENCE_MISS = 0.01
_SHAPE = re.compile(r"\s*(?P<metric>[A-Za-z_][\w.]*?)\s*(?P<operator>[<>=!~]+)\s*(?P<limit>\S.*?)\s*")
_STATISTIC = re.compile(
    rf"(?:(?P<timed>{'|'.join(TIMED_METRICS)})_)?(?:p(?P<percentile>\d+(?:\.\d+)?)|(?P<aggregate>{'|'.join(AGGREGATES)}))"
)
_TARGET_LIMIT = re.compile(r"(?P<number>-?\d+(?:\.\d+)?)\s*(?P<unit>%|MB|/s|ms|s)?")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "==": lambda value, limit: value == limit,
}
_EXAMPLES = "p95 < 2s, ttft_p95 < 1s, error_ratio < 1%, rate >= 9900/s, dropped == 0, target.cpu < 85%"


@dataclass(frozen=True)
class Condition:
    """One parsed threshold: `metric statistic operator limit`, the limit in the unit named.

    `metric` is `latency` for a bare `p95`; `statistic` is a percentile's name (`p95`), an aggregate's (`mean`) or
    None for ratios, counts and rates; `percentile` is its number (95.0) when it is one.
    """

    text: str
    metric: str
    statistic: str | None
    percentile: float | None
    operator: Operator
    limit: float
    unit: Unit

    @property
    def is_target(self) -> bool:
        """True when the value comes from the target's own metrics, not from our clock."""
        return self.metric.startswith(TARGET_PREFIX)

    @property
    def needed_samples(self) -> int:
        """Samples below which the condition is not judged: what its percentile needs, else one."""
        return 1 if self.percentile is None else needed_samples(self.percentile)

    def holds(self, value: float) -> bool:
        """Whether the value meets the condition; exactly at the limit `<` does not and `<=` does."""
        return _OPERATORS[self.operator](value, self.limit)


def needed_samples(percentile: float) -> int:
    """Samples that hold one value beyond the percentile with 99 % confidence: ceil(ln 0.01 / ln q).

    44 for p90, 90 for p95, 459 for p99, 4,603 for p99.9.
    """
    return math.ceil(math.log(_CONFIDENCE_MISS) / math.log(percentile / 100))


def parse_condition(text: str) -> Condition:
    """The condition a line such as `p95 < 2s` states; ValueError says what is wrong and what is allowed."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise ValueError(f"threshold {text!r}: want `metric operator limit`, such as {_EXAMPLES}")
    metric, operator, limit = shape["metric"], shape["operator"], shape["limit"]
    if operator not in _OPERATORS:
        raise ValueError(f"threshold {text!r}: unknown operator {operator!r}; allowed: {' '.join(_OPERATORS)}")
    name, statistic, percentile = _parse_metric(text, metric)
    number, unit = _parse_limit(text, name, statistic, limit)
    return Condition(text.strip(), name, statistic, percentile, _as_operator(operator), number, unit)


def _as_operator(operator: str) -> Operator:
    found: dict[str, Operator] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": "=="}
    return found[operator]


def _parse_metric(text: str, metric: str) -> tuple[str, str | None, float | None]:
    if metric.startswith(TARGET_PREFIX) and len(metric) > len(TARGET_PREFIX):
        return metric, None, None
    if metric in RATIO_METRICS or metric in COUNT_METRICS or metric == "rate":
        return metric, None, None
    match = _STATISTIC.fullmatch(metric)
    if match is None:
        raise ValueError(f"threshold {text!r}: unknown metric {metric!r}{_suggest(metric)}; allowed: {_allowed()}")
    timed = match["timed"] or "latency"
    if match["percentile"] is None:
        return timed, match["aggregate"], None
    percentile = float(match["percentile"])
    if not 0 < percentile < 100:
        raise ValueError(f"threshold {text!r}: percentile {metric!r} must lie between 0 and 100, both excluded")
    return timed, f"p{percentile:g}", percentile


def _parse_limit(text: str, metric: str, statistic: str | None, limit: str) -> tuple[float, Unit]:
    if metric.startswith(TARGET_PREFIX):
        return _parse_target_limit(text, limit)
    if statistic is not None:
        return _with_unit(text, limit, "a duration with its unit, such as 300ms, 2s or 1m30s", _parse_seconds), "s"
    if metric == "rate":
        return _with_unit(text, limit, "a rate with its unit, such as 9900/s or 60/m", parse_rate), "/s"
    if metric in RATIO_METRICS:
        return _with_unit(text, limit, "a percentage, such as 1% or 0.5%", _parse_percentage), "ratio"
    return _with_unit(text, limit, "a whole number without unit, such as 0", _parse_count), "count"


def _with_unit(text: str, limit: str, wanted: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(limit)
    except ValueError:
        raise ValueError(f"threshold {text!r}: got limit {limit!r}, want {wanted}") from None


def _parse_seconds(limit: str) -> float:
    return parse_duration(limit)


def _parse_percentage(limit: str) -> float:
    if limit == "0":
        return 0.0
    if not limit.endswith("%"):
        raise ValueError(limit)
    ratio = float(limit[:-1]) / 100
    if not 0 <= ratio <= 1:
        raise ValueError(limit)
    return ratio


def _parse_count(limit: str) -> float:
    if not limit.isascii() or not limit.isdigit():
        raise ValueError(limit)
    return float(int(limit))


def _parse_target_limit(text: str, limit: str) -> tuple[float, Unit]:
    match = _TARGET_LIMIT.fullmatch(limit)
    if match is None:
        raise ValueError(f"threshold {text!r}: got limit {limit!r}, want a number, or one with %, MB, /s, ms or s")
    number = float(match["number"])
    if match["unit"] == "ms":
        return number / 1000, "s"
    units: dict[str | None, Unit] = {None: "number", "%": "%", "MB": "MB", "/s": "/s", "s": "s"}
    return number, units[match["unit"]]


def _known_names() -> list[str]:
    statistics = ["p50", "p90", "p95", "p99", "p99.9", *AGGREGATES]
    timed = [f"{metric}_{statistic}" for metric in TIMED_METRICS for statistic in statistics]
    return [*statistics, *RATIO_METRICS, *COUNT_METRICS, "rate", *timed]


def _suggest(metric: str) -> str:
    close = get_close_matches(metric.lower(), _known_names(), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _allowed() -> str:
    timed = ", ".join(f"{metric}_…" for metric in TIMED_METRICS[1:])
    return ", ".join(
        ["p50 … p99.9", *AGGREGATES, f"{timed} of the same", *RATIO_METRICS, "rate", *COUNT_METRICS, "target.NAME"]
    )
