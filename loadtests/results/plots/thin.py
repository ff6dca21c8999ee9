"""Fewer points for a picture, with every peak and trough kept."""

from collections.abc import Sequence

Sample = tuple[float, float | None]


def thin(samples: Sequence[Sample], buckets: int) -> list[Sample]:
    """At most two samples for each bucket of equal count: its smallest and its largest, in order of time.

    A bucket without any known value becomes one unknown sample, so that gaps stay gaps.
    """
    if len(samples) <= 2 * buckets:
        return list(samples)
    kept: list[Sample] = []
    for index in range(buckets):
        part = samples[index * len(samples) // buckets : (index + 1) * len(samples) // buckets]
        known = [(value, t) for t, value in part if value is not None]
        if not known:
            kept.append((part[0][0], None))
            continue
        extremes = {min(known), max(known)}
        kept.extend((t, value) for t, value in sorted((t, value) for value, t in extremes))
    return kept
