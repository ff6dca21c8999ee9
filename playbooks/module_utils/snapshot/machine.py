"""Probes of what a host is: operating system, kernel, processor, memory, virtualisation, GPU."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .host import AbsentError, CommandFailedError, Host
from .probe import HOST, IDENTITY, VOLATILE, Probe
from .scrub import scrub_command_line

if TYPE_CHECKING:
    from .host import Json

CPU = "/sys/devices/system/cpu"
_GPU_IDENTITY = ("name", "driver_version", "memory.total", "power.limit", "compute_mode", "mig.mode.current")
_GPU_VOLATILE = ("temperature.gpu", "utilization.gpu", "clocks.sm", "power.draw", "memory.used")


def read_os(host: Host) -> Json:
    """Name of the distribution, or of the system where /etc/os-release is not known."""
    try:
        release = host.pairs("/etc/os-release", "=")
    except AbsentError:
        return host.system
    return release.get("PRETTY_NAME", host.system).strip('"')


def read_kernel(host: Host) -> Json:
    """Release of the kernel."""
    return host.text("/proc/sys/kernel/osrelease") if host.has("/proc/sys/kernel/osrelease") else host.release


def read_cpu_model(host: Host) -> Json:
    """Model name on x86; implementer and part number on Arm, where the kernel gives no name."""
    facts = host.pairs("/proc/cpuinfo")
    if "model name" in facts:
        return facts["model name"]
    if "CPU part" in facts:
        return f"Arm implementer {facts.get('CPU implementer')} part {facts['CPU part']}"
    raise AbsentError("/proc/cpuinfo names no model")


def read_microcode(host: Host) -> Json:
    """Revision of the microcode."""
    facts = host.pairs("/proc/cpuinfo")
    if "microcode" not in facts:
        raise AbsentError("/proc/cpuinfo tells no microcode revision")
    return facts["microcode"]


def parse_cpu_list(text: str) -> list[int]:
    """`0-3,8` as [0, 1, 2, 3, 8]; the form of the kernel's CPU and node lists."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def read_logical_cpus(host: Host) -> Json:
    """Number of CPUs online."""
    return len(parse_cpu_list(host.text(f"{CPU}/online")))


def read_physical_cores(host: Host) -> Json:
    """Number of distinct cores among the CPUs online."""
    cores = {
        (host.text(f"{CPU}/cpu{n}/topology/physical_package_id"), host.text(f"{CPU}/cpu{n}/topology/core_id"))
        for n in parse_cpu_list(host.text(f"{CPU}/online"))
    }
    return len(cores)


def read_governor(host: Host) -> Json:
    """Frequency governors in use, one word when all CPUs agree."""
    policies = [name for name in host.names(f"{CPU}/cpufreq") if name.startswith("policy")]
    if not policies:
        raise AbsentError(f"{CPU}/cpufreq has no policy: the kernel does not set the frequency here")
    return ",".join(sorted({host.text(f"{CPU}/cpufreq/{name}/scaling_governor") for name in policies}))


def read_boost(host: Host) -> Json:
    """True when the processor may run above its nominal frequency."""
    if host.has(f"{CPU}/intel_pstate/no_turbo"):
        return host.number(f"{CPU}/intel_pstate/no_turbo") == 0
    return host.number(f"{CPU}/cpufreq/boost") == 1


def read_c_states(host: Host) -> Json:
    """Idle states of the first CPU, each true when it may be entered."""
    folder = f"{CPU}/cpu0/cpuidle"
    states = [name for name in host.names(folder) if name.startswith("state")]
    if not states:
        raise AbsentError(f"{folder} lists no state")
    return {host.text(f"{folder}/{name}/name"): host.number(f"{folder}/{name}/disable") == 0 for name in states}


def read_mitigations(host: Host) -> Json:
    """What the kernel says of each processor vulnerability."""
    folder = f"{CPU}/vulnerabilities"
    return {name: host.text(f"{folder}/{name}") for name in host.names(folder)}


def read_memory_bytes(host: Host) -> Json:
    """Memory the kernel manages."""
    return int(host.pairs("/proc/meminfo")["MemTotal"].split()[0]) * 1024


def read_swap_bytes(host: Host) -> Json:
    """Size of all swap areas; 0 is none."""
    return int(host.pairs("/proc/meminfo")["SwapTotal"].split()[0]) * 1024


def read_huge_pages(host: Host) -> Json:
    """Transparent huge pages: the choice in brackets of the kernel's list."""
    line = host.text("/sys/kernel/mm/transparent_hugepage/enabled")
    chosen = re.search(r"\[(\w+)\]", line)
    if chosen is None:
        raise AbsentError(f"no choice marked in {line[:60]!r}")
    return chosen.group(1)


def read_hypervisor(host: Host) -> Json:
    """True when the processor says that it is virtual (x86 only: other processors do not say)."""
    facts = host.pairs("/proc/cpuinfo")
    if "flags" not in facts:
        raise AbsentError("/proc/cpuinfo has no flags on this processor")
    return "hypervisor" in facts["flags"].split()


def read_virtualisation(host: Host) -> Json:
    """Kind of hypervisor; `none` on bare metal, which the command says with a code of its own."""
    try:
        return host.output("systemd-detect-virt", "--vm")
    except CommandFailedError as failed:
        if failed.output == "none":
            return "none"
        raise


def read_product(host: Host) -> Json:
    """Vendor and product of the machine or of its hypervisor; never its serial number."""
    return f"{host.text('/sys/class/dmi/id/sys_vendor')} {host.text('/sys/class/dmi/id/product_name')}"


def read_container(host: Host) -> Json:
    """Kind of container this process is in; `none` when no known mark of one is there."""
    if host.has("/.dockerenv"):
        return "docker"
    if host.has("/run/.containerenv"):
        return "podman"
    if host.has("/run/systemd/container"):
        return host.text("/run/systemd/container")
    groups = host.text("/proc/self/cgroup")
    return next((kind for kind in ("kubepods", "docker", "lxc") if f"/{kind}" in groups), "none")


def read_gpus(host: Host, columns: tuple[str, ...] = _GPU_IDENTITY) -> Json:
    """One mapping for each NVIDIA GPU, without UUID and serial number."""
    listing = host.output("nvidia-smi", f"--query-gpu={','.join(columns)}", "--format=csv,noheader")
    rows = [[cell.strip() for cell in line.split(",")] for line in listing.splitlines() if line.strip()]
    return [dict(zip(columns, row)) for row in rows]  # noqa: B905 (`strict` needs Python 3.10)


MACHINE_PROBES = (
    Probe("os.name", IDENTITY, read_os),
    Probe("os.architecture", IDENTITY, lambda host: host.machine),
    Probe("kernel.release", IDENTITY, read_kernel),
    Probe("kernel.command_line", IDENTITY, lambda host: scrub_command_line(host.text("/proc/cmdline"))),
    Probe(
        "kernel.clocksource",
        IDENTITY,
        lambda host: host.text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ),
    Probe("machine.virtualisation", IDENTITY, read_virtualisation),
    Probe("machine.hypervisor", IDENTITY, read_hypervisor),
    Probe("machine.product", HOST, read_product),
    Probe("machine.container", IDENTITY, read_container),
    Probe("cpu.model", IDENTITY, read_cpu_model),
    Probe("cpu.microcode", HOST, read_microcode),
    Probe("cpu.logical_cpus", IDENTITY, read_logical_cpus),
    Probe("cpu.physical_cores", IDENTITY, read_physical_cores),
    Probe("cpu.smt", IDENTITY, lambda host: host.text(f"{CPU}/smt/control")),
    Probe("cpu.isolated", HOST, lambda host: host.text(f"{CPU}/isolated")),
    Probe(
        "cpu.numa_nodes",
        IDENTITY,
        lambda host: len(parse_cpu_list(host.text("/sys/devices/system/node/online"))),
    ),
    Probe("cpu.frequency_driver", HOST, lambda host: host.text(f"{CPU}/cpufreq/policy0/scaling_driver")),
    Probe("cpu.governor", IDENTITY, read_governor),
    Probe("cpu.boost", IDENTITY, read_boost),
    Probe("cpu.idle_driver", HOST, lambda host: host.text(f"{CPU}/cpuidle/current_driver")),
    Probe("cpu.c_states", HOST, read_c_states),
    Probe("cpu.mitigations", IDENTITY, read_mitigations),
    Probe("memory.total_bytes", IDENTITY, read_memory_bytes),
    Probe("memory.transparent_huge_pages", HOST, read_huge_pages),
    Probe("memory.swap_bytes", HOST, read_swap_bytes),
)

GPU_PROBES = (
    Probe("gpu.devices", IDENTITY, read_gpus),
    Probe("gpu.state", VOLATILE, lambda host: read_gpus(host, _GPU_VOLATILE)),
)
