"""What is printed: aligned columns, durations, addresses and notes."""

import pytest

from mock_server.lab.state import LabState, ServiceRecord
from mock_server.lab.tables import ServiceStatus, format_duration, render_addresses, render_status


def test_addresses_are_aligned_and_notes_follow() -> None:
    links = (("API", "http://a"), ("metrics", "http://a/metrics"))
    state = LabState("consoul", "native", (ServiceRecord("consoul", (), links, 1),), ("Runs without X.",), "", 1, {})

    assert render_addresses(state).splitlines() == [
        "  API      http://a",
        "  metrics  http://a/metrics",
        "  Runs without X.",
    ]


def test_status_shows_a_running_and_a_dead_service() -> None:
    table = render_status(
        [
            ServiceStatus("redis", "RUNNING", 7, 65.0, 3 * 2**20, is_ready=True, url="redis://r"),
            ServiceStatus("consoul", "FATAL", None, None, None, is_ready=False, url="http://c"),
        ]
    )

    assert [line.split() for line in table.splitlines()[1:]] == [
        ["redis", "running", "yes", "7", "1m05s", "3", "MiB", "redis://r"],
        ["consoul", "fatal", "no", "-", "-", "-", "http://c"],
    ]


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(-1, "0s"), (0.9, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (7620, "2h07m"), (356400, "4d03h")],
)
def test_durations_show_their_two_largest_units(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text
