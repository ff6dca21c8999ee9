"""The readable page: grouped, marked by class, never too wide, absent fields with their reasons."""

from typing import Any

from playbooks.module_utils.snapshot.page import WIDTH, render_page


def _page(fields: dict[str, dict[str, Any]]) -> list[str]:
    snapshot = {"schema": 1, "taken_at": "2026-01-01T00:00:00Z", "took_s": 0.125, "fields": fields}
    return render_page(snapshot).splitlines()


def test_groups_are_sorted_and_activity_comes_last() -> None:
    lines = _page(
        {
            "activity.run_queue": {"value": 3, "class": "volatile"},
            "os.name": {"value": "Debian", "class": "identity"},
            "cpu.model": {"value": "A", "class": "identity"},
        }
    )

    assert [line for line in lines[2:] if line and not line.startswith(" ")] == ["cpu", "os", "activity"]
    assert "  = name                      Debian" in lines
    assert "    run_queue                 3" in lines


def test_an_absent_field_says_why() -> None:
    assert "  = boost                     absent: it does not exist" in _page(
        {"cpu.boost": {"value": None, "class": "identity", "reason": "it does not exist"}}
    )


def test_values_are_worded_for_people() -> None:
    lines = _page(
        {
            "memory.total_bytes": {"value": 2**31, "class": "identity"},
            "cpu.c_states": {"value": {"POLL": True, "C6": False}, "class": "host"},
            "activity.top": {"value": [{"name": "a", "cpu_s": 1.0}], "class": "volatile"},
            "cpu.isolated": {"value": "", "class": "host"},
            "software.packages": {"value": {str(n): "1" for n in range(30)}, "class": "host"},
            "activity.load_average": {"value": [0.5, 0.25], "class": "volatile"},
        }
    )

    text = "\n".join(lines)
    assert "total_bytes               2.00 GiB" in text
    assert "c_states                  POLL: yes\n                              C6: no" in text
    assert "top                       name a, cpu_s 1.0" in text
    assert "isolated                  (empty)" in text
    assert "packages                  30 entries, listed in the JSON" in text
    assert "load_average              0.5, 0.25" in text


def test_no_line_is_wider_than_the_page() -> None:
    lines = _page(
        {"kernel.command_line": {"value": " ".join(["option=value"] * 60) + "x" * 300, "class": "identity"}}
    )

    assert len(lines) > 8
    assert max(map(len, lines)) <= WIDTH
