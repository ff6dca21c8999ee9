"""Probes of network interfaces, file systems and time synchronisation. No address of any kind is recorded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .host import AbsentError, Host
from .probe import HOST, VOLATILE, Probe

if TYPE_CHECKING:
    from .host import Json

NET = "/sys/class/net"
# Pairs made for each container; their names change at every start.
_PASSING = re.compile(r"^(veth|br-|cali|tap)")
_OFFLOADS = (
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "large-receive-offload",
    "rx-checksumming",
    "tx-checksumming",
)
_MOUNTS = ("/", "/tmp", "/dev/shm", "/var", "/home")  # noqa: S108 (looked at, never written)
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def interface_names(host: Host) -> list[str]:
    """Interfaces that stay: those of containers left out."""
    return [name for name in host.names(NET) if not _PASSING.match(name)]


def read_interfaces(host: Host) -> Json:
    """MTU, state, driver and speed by interface; what an interface does not tell is left out."""
    found: dict[str, Json] = {}
    for name in interface_names(host):
        facts: dict[str, Json] = {}
        for key, read in (("mtu", host.number), ("operstate", host.text), ("speed", host.number)):
            try:
                facts["speed_mbit_s" if key == "speed" else key] = read(f"{NET}/{name}/{key}")
            except AbsentError:
                continue
        if facts.get("speed_mbit_s") == -1:  # the driver's word for unknown
            del facts["speed_mbit_s"]
        driver = host.path(f"{NET}/{name}/device/driver")
        if driver.is_symlink():
            facts["driver"] = driver.readlink().name
        found[name] = facts
    return found


def read_offloads(host: Host) -> Json:
    """Offloads by interface as `ethtool -k` tells them."""
    found: dict[str, Json] = {}
    for name in interface_names(host):
        lines = (line.partition(":") for line in host.output("ethtool", "-k", name).splitlines())
        facts = {key.strip(): value.split()[0] for key, _, value in lines if value.split()}
        found[name] = {key: facts[key] for key in _OFFLOADS if key in facts}
    return found


def read_filesystems(host: Host) -> Json:
    """Type and mount options of the places runs write to, where each is a mount of its own."""
    found: dict[str, Json] = {}
    for line in host.text("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        place, options = left.split()[4:6]
        if place in _MOUNTS:
            found[place] = {"type": right.split()[0], "options": options}
    return found


def parse_chrony_offset_s(csv: str) -> float:
    """Offset of the system clock in seconds, from the fifth column of `chronyc -c tracking`."""
    return float(csv.split(",")[4])


def parse_timesyncd_offset_s(status: str) -> float:
    """Offset in seconds, from the line `Offset: +1.234ms` of `timedatectl timesync-status`; raises AbsentError."""
    match = re.search(r"Offset:\s*([+-]?[0-9.]+)\s*(ns|us|ms|s)\b", status)
    if match is None:
        raise AbsentError("timedatectl tells no offset")
    return float(match.group(1)) * _UNITS_S[match.group(2)]


def read_ntp_offset_s(host: Host) -> Json:
    """Offset of the clock as chrony tells it, else as systemd-timesyncd does."""
    try:
        return parse_chrony_offset_s(host.output("chronyc", "-c", "tracking"))
    except AbsentError as chrony:
        try:
            return parse_timesyncd_offset_s(host.output("timedatectl", "timesync-status"))
        except AbsentError as timesyncd:
            raise AbsentError(f"{chrony}; {timesyncd}") from None


NETWORK_PROBES = (
    Probe("network.interfaces", HOST, read_interfaces),
    Probe("network.offloads", HOST, read_offloads),
    Probe(
        "network.congestion_control",
        HOST,
        lambda host: host.text("/proc/sys/net/ipv4/tcp_congestion_control"),
    ),
    Probe("storage.filesystems", HOST, read_filesystems),
    Probe("time.ntp_offset_s", VOLATILE, read_ntp_offset_s),
)
