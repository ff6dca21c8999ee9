"""Probes of what a host is doing now. All volatile: never compared, but their counters are subtracted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import AbsentError, Host
from .probe import VOLATILE, Probe

if TYPE_CHECKING:
    from .host import Json

_TOP = 8


def read_load_average(host: Host) -> Json:
    """Load average over 1, 5 and 15 minutes."""
    return [float(word) for word in host.text("/proc/loadavg").split()[:3]]


def read_run_queue(host: Host) -> Json:
    """Tasks that run or want to, this collector included."""
    return int(host.pairs("/proc/stat", " ")["procs_running"])


def read_steal_s(host: Host) -> Json:
    """CPU seconds the hypervisor gave to others since boot, over all CPUs."""
    return int(host.pairs("/proc/stat", " ")["cpu"].split()[7]) / host.ticks_per_s


def read_pressure(host: Host) -> Json:
    """Pressure stall information: share of 10 s in which some, or all, tasks waited, by resource."""
    found: dict[str, Json] = {}
    for resource in host.names("/proc/pressure"):
        for line in host.text(f"/proc/pressure/{resource}").splitlines():
            who, *words = line.split()
            facts = dict(word.split("=", 1) for word in words)
            found[f"{resource}_{who}_ratio"] = round(float(facts["avg10"]) / 100, 4)
    return found


def _vmstat(host: Host, name: str) -> int:
    counters = host.pairs("/proc/vmstat", " ")
    if name not in counters:
        raise AbsentError(f"/proc/vmstat does not count {name}")
    return int(counters[name])


def read_memory_available(host: Host) -> Json:
    """Memory that new work can have without swapping."""
    return int(host.pairs("/proc/meminfo")["MemAvailable"].split()[0]) * 1024


def read_memory_free(host: Host) -> Json:
    """Memory nothing uses, not even as cache."""
    return int(host.pairs("/proc/meminfo")["MemFree"].split()[0]) * 1024


def read_temperatures(host: Host) -> Json:
    """Degrees Celsius by thermal zone; numbered, since several zones may share a type."""
    zones = [name for name in host.names("/sys/class/thermal") if name.startswith("thermal_zone")]
    if not zones:
        raise AbsentError("/sys/class/thermal has no zone")
    return {
        f"{name[12:]}:{host.text(f'/sys/class/thermal/{name}/type')}": host.number(f"/sys/class/thermal/{name}/temp")
        / 1000
        for name in zones
    }


def read_top_processes(host: Host) -> Json:
    """The processes that used most CPU since they started: names only, arguments may hold secrets."""
    found: list[tuple[float, str]] = []
    for pid in filter(str.isdigit, host.names("/proc")):
        try:
            stat = host.text(f"/proc/{pid}/stat")
        except AbsentError:  # it ended meanwhile
            continue
        # The name stands in parentheses and may hold spaces and parentheses itself.
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        user, system = stat[stat.rindex(")") + 1 :].split()[11:13]
        found.append(((int(user) + int(system)) / host.ticks_per_s, name))
    return [{"name": name, "cpu_s": round(cpu_s, 2)} for cpu_s, name in sorted(found, reverse=True)[:_TOP]]


ACTIVITY_PROBES = (
    Probe("activity.uptime_s", VOLATILE, lambda host: float(host.text("/proc/uptime").split()[0])),
    Probe("activity.load_average", VOLATILE, read_load_average),
    Probe("activity.run_queue", VOLATILE, read_run_queue),
    Probe("activity.steal_s", VOLATILE, read_steal_s),
    Probe("activity.pressure", VOLATILE, read_pressure),
    Probe("activity.swap_in_pages", VOLATILE, lambda host: _vmstat(host, "pswpin")),
    Probe("activity.swap_out_pages", VOLATILE, lambda host: _vmstat(host, "pswpout")),
    Probe("activity.oom_kills", VOLATILE, lambda host: _vmstat(host, "oom_kill")),
    Probe("activity.memory_available_bytes", VOLATILE, read_memory_available),
    Probe("activity.memory_free_bytes", VOLATILE, read_memory_free),
    Probe("activity.temperatures_celsius", VOLATILE, read_temperatures),
    Probe("activity.top_processes", VOLATILE, read_top_processes),
)
