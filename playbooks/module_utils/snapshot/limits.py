"""Probes of what a host allows: control groups (version 1 and 2), tuned sysctls, ulimits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import AbsentError, Host
from .probe import HOST, IDENTITY, VOLATILE, Probe

if TYPE_CHECKING:
    from .host import Json

CGROUP = "/sys/fs/cgroup"
UNLIMITED = "unlimited"
# Version 1 writes "no limit" as the largest multiple of a page below 2^63.
_V1_NO_LIMIT = 1 << 62
TUNED_SYSCTLS = (
    "fs.file-max",
    "fs.nr_open",
    "kernel.numa_balancing",
    "kernel.pid_max",
    "kernel.threads-max",
    "net.core.default_qdisc",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.swappiness",
)
_ULIMITS = {"Max open files": "open_files", "Max processes": "processes", "Max locked memory": "locked_memory"}


def read_cgroup_version(host: Host) -> Json:
    """1 or 2: which version holds the CPU and memory controllers."""
    if host.has(f"{CGROUP}/cgroup.controllers"):
        return 2
    if host.has(f"{CGROUP}/cpu"):
        return 1
    raise AbsentError(f"no CPU controller under {CGROUP}")


def group_folders(host: Host, controller: str) -> list[str]:
    """Folders that limit this process, from its own group up to the root of what is mounted; raises AbsentError.

    A container sees its path on the host but not the folder: then the mounted root is its group.
    """
    version = read_cgroup_version(host)
    base = CGROUP if version == 2 else f"{CGROUP}/{controller}"
    path = ""
    for line in host.text("/proc/self/cgroup").splitlines():
        _, names, group = line.split(":", 2)
        if (version == 2 and names == "") or (version == 1 and controller in names.split(",")):
            path = group.rstrip("/")
    folders = []
    while path:
        folders.append(base + path)
        path = path.rpartition("/")[0]
    return [folder for folder in [*folders, base] if host.has(folder)]


def read_cpu_quota(host: Host) -> Json:
    """CPUs this process may use at once: the lowest quota on the way up, or `unlimited`."""
    quotas: list[float] = []
    for folder in group_folders(host, "cpu"):
        if host.has(f"{folder}/cpu.max"):
            quota, period = host.text(f"{folder}/cpu.max").split()
        elif host.has(f"{folder}/cpu.cfs_quota_us"):
            quota, period = host.text(f"{folder}/cpu.cfs_quota_us"), host.text(f"{folder}/cpu.cfs_period_us")
        else:
            continue
        if quota not in ("max", "-1"):
            quotas.append(int(quota) / int(period))
    return round(min(quotas), 3) if quotas else UNLIMITED


def read_memory_limit(host: Host) -> Json:
    """Bytes this process's groups may use: the lowest limit on the way up, or `unlimited`."""
    limits: list[int] = []
    for folder in group_folders(host, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if host.has(f"{folder}/{name}"):
                content = host.text(f"{folder}/{name}")
                if content != "max" and int(content) < _V1_NO_LIMIT:
                    limits.append(int(content))
    return min(limits) if limits else UNLIMITED


def _cpu_stat(host: Host) -> dict[str, str]:
    for folder in group_folders(host, "cpu"):
        if host.has(f"{folder}/cpu.stat"):
            stat = host.pairs(f"{folder}/cpu.stat", " ")
            if "nr_throttled" in stat:
                return stat
    raise AbsentError("no control group of this process counts throttling")


def read_throttled_periods(host: Host) -> Json:
    """Periods in which this process's group ran into its CPU quota, since the group was made."""
    return int(_cpu_stat(host)["nr_throttled"])


def read_throttled_s(host: Host) -> Json:
    """Seconds this process's group was held back by its CPU quota, since the group was made."""
    stat = _cpu_stat(host)
    if "throttled_usec" in stat:
        return int(stat["throttled_usec"]) / 1e6
    return int(stat["throttled_time"]) / 1e9


def read_sysctls(host: Host) -> Json:
    """Every tuned kernel setting this host has; a setting it lacks is not listed."""
    found: dict[str, Json] = {}
    for name in TUNED_SYSCTLS:
        path = f"/proc/sys/{name.replace('.', '/')}"
        if host.has(path):
            found[name] = " ".join(host.text(path).split())
    if not found:
        raise AbsentError("/proc/sys holds none of the tuned settings")
    return found


def read_ulimits(host: Host) -> Json:
    """Soft and hard limits of this process."""
    limits: dict[str, Json] = {}
    for line in host.text("/proc/self/limits").splitlines():
        for title, name in _ULIMITS.items():
            if line.startswith(title):
                soft, hard = line[len(title) :].split()[:2]
                limits[name] = {"soft": soft, "hard": hard}
    if not limits:
        raise AbsentError("/proc/self/limits names none of the limits looked for")
    return limits


LIMIT_PROBES = (
    Probe("cgroup.version", HOST, read_cgroup_version),
    Probe("cgroup.cpu_quota", IDENTITY, read_cpu_quota),
    Probe("cgroup.memory_limit_bytes", IDENTITY, read_memory_limit),
    Probe("cgroup.throttled_periods", VOLATILE, read_throttled_periods),
    Probe("cgroup.throttled_s", VOLATILE, read_throttled_s),
    Probe("limits.sysctls", HOST, read_sysctls),
    Probe("limits.ulimits", HOST, read_ulimits),
)
