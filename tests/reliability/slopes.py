"""What a soak saw, and what it says of it: pure arithmetic over samples."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MEBIBYTE = 1024 * 1024
# Grown by so much between the first and the last third of the samples, a count is not flat.
MOST_FILES = 4
MOST_TASKS = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """The mock at one moment: all its processes together, the parent too; answers are all there were so far."""

    at_s: float
    resident_bytes: int
    open_files: int
    tasks: int
    sessions: int
    cpu_s: float
    answers: int


@dataclass(frozen=True, slots=True)
class Trend:
    """What became of the samples after the warm-up."""

    length_s: float
    answers: int
    resident_growth_bytes: float
    resident_slope_mib_per_10_min: float
    files_growth: int
    tasks_growth: int
    cpu_ratio: float

    def problems(self, most_mib_per_10_min: float) -> list[str]:
        """Returns what is not flat."""
        found = []
        if self.resident_slope_mib_per_10_min > most_mib_per_10_min:
            found.append(f"memory grows by {self.resident_slope_mib_per_10_min:.2f} MiB in 10 min")
        if self.files_growth > MOST_FILES:
            found.append(f"{self.files_growth} more open files")
        if self.tasks_growth > MOST_TASKS:
            found.append(f"{self.tasks_growth} more tasks")
        return found


def fit_slope(points: Sequence[tuple[float, float]]) -> float:
    """Returns the slope of the least-squares line through points (x, y)."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def find_trend(samples: Sequence[Sample]) -> Trend:
    """Returns the trend of at least three samples; the warm-up's are not among them."""
    third = len(samples) // 3
    first, last = samples[:third], samples[-third:]
    length_s = samples[-1].at_s - samples[0].at_s
    slope = fit_slope([(sample.at_s, float(sample.resident_bytes)) for sample in samples])
    return Trend(
        length_s,
        samples[-1].answers - samples[0].answers,
        slope * length_s,
        slope * 600 / MEBIBYTE,
        # The least of each third: what a leak raises too, and requests in flight at the moment do not.
        min(sample.open_files for sample in last) - min(sample.open_files for sample in first),
        min(sample.tasks for sample in last) - min(sample.tasks for sample in first),
        (samples[-1].cpu_s - samples[0].cpu_s) / length_s,
    )
