"""What differs between two snapshots, by class, and how far the volatile counters moved. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .probe import CLASSES, HOST, IDENTITY, VOLATILE

COMPARABLE = "comparable"
COMPARABLE_WITH_WARNINGS = "comparable with warnings"
NOT_COMPARABLE = "not comparable"
COUNTERS = (
    "cgroup.throttled_periods",
    "cgroup.throttled_s",
    "activity.steal_s",
    "activity.swap_in_pages",
    "activity.swap_out_pages",
    "activity.oom_kills",
)
_MISSING: dict[str, Any] = {"value": None, "reason": "not in this snapshot"}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """`comparison` (one of three verdicts), `changed` fields by class, `counters` with their `delta`, `elapsed_s`.

    Mappings are compared key by key. A counter unknown on either side has a null delta: unknown is not zero.
    Raises ValueError when the two were written under different schemas.
    """
    if before.get("schema") != after.get("schema"):
        raise ValueError(
            f"snapshots of schema {before.get('schema')!r} and {after.get('schema')!r} cannot be compared; "
            "take both with the same version of the collector"
        )
    changed = _changed(before["fields"], after["fields"])
    return {
        "schema": after["schema"],
        "elapsed_s": round(after["taken_at_s"] - before["taken_at_s"], 3),
        "comparison": _verdict(changed),
        "changed": changed,
        "counters": {name: _delta(name, before["fields"], after["fields"]) for name in COUNTERS},
    }


def _verdict(changed: Mapping[str, Any]) -> str:
    if changed[IDENTITY]:
        return NOT_COMPARABLE
    return COMPARABLE_WITH_WARNINGS if changed[HOST] else COMPARABLE


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {kind: [] for kind in CLASSES if kind != VOLATILE}
    for name in sorted({*before, *after}):
        kind = (after.get(name) or before[name])["class"]
        if kind == VOLATILE:
            continue
        changed[kind].extend(_entries(name, before.get(name, _MISSING), after.get(name, _MISSING)))
    return changed


def _entries(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    old, new = before["value"], after["value"]
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _entries(f"{name}.{key}", {"value": old.get(key)}, {"value": new.get(key)})
    elif old != new:
        entry: dict[str, Any] = {"field": name, "before": old, "after": new}
        reason = before.get("reason") or after.get("reason")
        yield {**entry, "reason": reason} if reason else entry


def _delta(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    old, new = before.get(name, _MISSING), after.get(name, _MISSING)
    if old["value"] is None or new["value"] is None:
        return {"delta": None, "reason": old.get("reason") or new.get("reason")}
    if new["value"] < old["value"]:
        return {"delta": None, "reason": "the counter went back: the host or its group was started anew"}
    return {"delta": round(new["value"] - old["value"], 6)}
