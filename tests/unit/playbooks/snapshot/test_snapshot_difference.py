"""What differs between two snapshots, what that means, and how far counters moved."""

from typing import Any

import pytest

from playbooks.module_utils.snapshot.difference import difference


def _snapshot(fields: dict[str, tuple[str, Any]], taken_at_s: float = 100.0, schema: int = 1) -> dict[str, Any]:
    return {
        "schema": schema,
        "taken_at_s": taken_at_s,
        "fields": {
            name: {"value": value, "class": kind} | ({"reason": "not there"} if value is None else {})
            for name, (kind, value) in fields.items()
        },
    }


def test_equal_snapshots_are_comparable() -> None:
    one = _snapshot({"cpu.model": ("identity", "A"), "cpu.boost": ("identity", None)})

    result = difference(one, {**one, "taken_at_s": 130.5})

    assert result["comparison"] == "comparable"
    assert result["changed"] == {"identity": [], "host": [], "subject": []}
    assert result["elapsed_s"] == 30.5


@pytest.mark.parametrize(
    ("kind", "comparison"),
    [("identity", "not comparable"), ("host", "comparable with warnings"), ("subject", "comparable")],
)
def test_the_class_of_a_change_decides(kind: str, comparison: str) -> None:
    result = difference(_snapshot({"x": (kind, 1)}), _snapshot({"x": (kind, 2)}))

    assert result["comparison"] == comparison
    assert result["changed"][kind] == [{"field": "x", "before": 1, "after": 2}]


def test_volatile_fields_are_never_compared() -> None:
    result = difference(_snapshot({"load": ("volatile", 1)}), _snapshot({"load": ("volatile", 9)}))

    assert result["comparison"] == "comparable"


def test_mappings_are_compared_key_by_key() -> None:
    before = _snapshot({"software.packages": ("host", {"a": "1", "b": "1", "c": "1"})})
    after = _snapshot({"software.packages": ("host", {"a": "1", "b": "2", "d": "1"})})

    result = difference(before, after)

    assert result["changed"]["host"] == [
        {"field": "software.packages.b", "before": "1", "after": "2"},
        {"field": "software.packages.c", "before": "1", "after": None},
        {"field": "software.packages.d", "before": None, "after": "1"},
    ]


def test_a_value_that_became_unknown_is_a_change_with_its_reason() -> None:
    result = difference(_snapshot({"cpu.boost": ("identity", True)}), _snapshot({"cpu.boost": ("identity", None)}))

    assert result["changed"]["identity"] == [
        {"field": "cpu.boost", "before": True, "after": None, "reason": "not there"}
    ]


def test_counters_are_subtracted_and_unknown_is_not_zero() -> None:
    before = _snapshot({"activity.steal_s": ("volatile", 1.25), "activity.oom_kills": ("volatile", None)})
    after = _snapshot({"activity.steal_s": ("volatile", 4.0), "activity.oom_kills": ("volatile", 3)})

    counters = difference(before, after)["counters"]

    assert counters["activity.steal_s"] == {"delta": 2.75}
    assert counters["activity.oom_kills"] == {"delta": None, "reason": "not there"}
    assert counters["cgroup.throttled_periods"] == {"delta": None, "reason": "not in this snapshot"}


def test_a_counter_that_went_back_has_no_delta() -> None:
    result = difference(
        _snapshot({"activity.steal_s": ("volatile", 9.0)}), _snapshot({"activity.steal_s": ("volatile", 1.0)})
    )

    assert result["counters"]["activity.steal_s"]["delta"] is None
    assert "went back" in result["counters"]["activity.steal_s"]["reason"]


def test_other_schemas_are_refused() -> None:
    with pytest.raises(ValueError, match="schema 1 and 2 cannot be compared"):
        difference(_snapshot({}), _snapshot({}, schema=2))
