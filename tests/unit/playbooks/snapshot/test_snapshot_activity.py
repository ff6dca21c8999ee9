"""What a made-up host is doing: load, steal, pressure, counters, processes."""

import pytest

from playbooks.module_utils.snapshot.activity import (
    ACTIVITY_PROBES,
    read_load_average,
    read_pressure,
    read_steal_s,
    read_temperatures,
    read_top_processes,
)
from playbooks.module_utils.snapshot.probe import read_fields
from tests.unit.playbooks.snapshot.conftest import MakeHost

STAT = "cpu  10 0 20 300 4 0 1 250 0 0\ncpu0 10 0 20 300 4 0 1 250 0 0\nprocs_running 3\n"


def _stat(pid: int, name: str, user: int, system: int) -> str:
    return f"{pid} ({name}) S 1 1 1 0 -1 4194560 1 2 3 4 {user} {system} 0 0 20 0 1 0 5 6 7"


def test_counters_and_gauges(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/proc/loadavg": "0.50 0.25 0.10 1/80 999\n",
            "/proc/stat": STAT,
            "/proc/vmstat": "pswpin 7\npswpout 8\n",
            "/proc/uptime": "100.5 200.0\n",
            "/proc/meminfo": "MemFree: 10 kB\nMemAvailable: 20 kB\n",
        },
        ticks_per_s=100.0,
    )

    values = {name: field["value"] for name, field in read_fields(ACTIVITY_PROBES, host).items()}

    assert read_load_average(host) == [0.5, 0.25, 0.1]
    assert read_steal_s(host) == 2.5
    assert values["activity.run_queue"] == 3
    assert values["activity.swap_in_pages"] == 7
    assert values["activity.swap_out_pages"] == 8
    assert values["activity.oom_kills"] is None
    assert values["activity.memory_available_bytes"] == 20_480
    assert values["activity.uptime_s"] == 100.5


def test_pressure_is_a_ratio_by_resource(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/proc/pressure/cpu": "some avg10=12.50 avg60=1.00 avg300=0.10 total=5\n",
            "/proc/pressure/io": "some avg10=0.00 avg60=0 total=0\nfull avg10=1.00 avg60=0 total=0\n",
        }
    )

    assert read_pressure(host) == {"cpu_some_ratio": 0.125, "io_some_ratio": 0.0, "io_full_ratio": 0.01}


def test_temperatures_are_celsius(make_host: MakeHost) -> None:
    zone = "/sys/class/thermal/thermal_zone0"

    assert read_temperatures(make_host({f"{zone}/type": "x86_pkg_temp", f"{zone}/temp": "45500"})) == {
        "0:x86_pkg_temp": 45.5
    }


def test_processes_are_named_without_arguments_in_order_of_cpu_time(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/proc/1/stat": _stat(1, "init", 100, 0),
            "/proc/1/cmdline": "init\0--token\0canary",
            "/proc/22/stat": _stat(22, "odd) (name", 300, 50),
            "/proc/self/limits": "",
        },
        ticks_per_s=100.0,
    )

    assert read_top_processes(host) == [{"name": "odd) (name", "cpu_s": 3.5}, {"name": "init", "cpu_s": 1.0}]
    assert "canary" not in str(read_fields(ACTIVITY_PROBES, host))


@pytest.mark.parametrize("content", ["", "cpu  1 2\n", "cpu  a b c d e f g h\n"])
def test_a_file_worded_strangely_is_a_reason_not_a_crash(make_host: MakeHost, content: str) -> None:
    field = read_fields(ACTIVITY_PROBES, make_host({"/proc/stat": content}))["activity.steal_s"]

    assert field["value"] is None
    assert "could not be understood" in str(field["reason"])
