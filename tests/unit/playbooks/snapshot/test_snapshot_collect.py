"""The whole snapshot: its form, its classes, and that it never fails for what a host lacks."""

import ast
import json
import sys
from pathlib import Path

import pytest

from playbooks.module_utils.snapshot.collect import SCHEMA, collect
from playbooks.module_utils.snapshot.probe import CLASSES
from tests.unit.playbooks.snapshot.conftest import MakeHost

SOURCE = Path(__file__).resolve().parents[4] / "playbooks"
# Fields of the environment without which two runs cannot be called comparable.
REQUIRED = {
    "os.name",
    "kernel.release",
    "kernel.command_line",
    "kernel.clocksource",
    "machine.virtualisation",
    "machine.container",
    "cpu.model",
    "cpu.microcode",
    "cpu.logical_cpus",
    "cpu.smt",
    "cpu.numa_nodes",
    "cpu.frequency_driver",
    "cpu.governor",
    "cpu.boost",
    "cpu.c_states",
    "cpu.mitigations",
    "cgroup.cpu_quota",
    "cgroup.memory_limit_bytes",
    "memory.total_bytes",
    "memory.transparent_huge_pages",
    "memory.swap_bytes",
    "limits.sysctls",
    "limits.ulimits",
    "storage.filesystems",
    "network.interfaces",
    "network.offloads",
    "network.congestion_control",
    "time.ntp_offset_s",
    "gpu.devices",
    "software.python",
    "software.packages",
    "software.locust",
    "software.redis_server",
    "software.prometheus",
    "source.git_sha",
    "source.is_dirty",
    "source.difference_digest",
    "target.settings",
    "activity.load_average",
    "activity.run_queue",
    "activity.pressure",
    "activity.steal_s",
    "cgroup.throttled_periods",
    "activity.swap_in_pages",
    "activity.memory_free_bytes",
    "activity.temperatures_celsius",
    "activity.top_processes",
}


def test_an_empty_host_gives_every_field_with_class_and_reason(make_host: MakeHost) -> None:
    snapshot = collect(make_host(machine="riscv64", python="CPython 3.11.7"))

    assert snapshot["schema"] == SCHEMA
    assert snapshot["taken_at"] == "2023-11-14T22:13:20Z"
    fields = snapshot["fields"]
    assert set(fields) >= REQUIRED
    for name, field in fields.items():
        assert field["class"] in CLASSES, name
        assert (field["value"] is None) == bool(field.get("reason")), name
    json.dumps(snapshot, allow_nan=False)


@pytest.mark.parametrize("path", sorted(SOURCE.glob("module_utils/**/*.py")) + sorted(SOURCE.glob("library/*.py")))
def test_source_runs_on_the_pythons_of_remote_hosts_and_needs_only_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))

    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
    }
    own = {"playbooks", "ansible"}
    assert {name.split(".")[0] for name in imported} <= set(sys.stdlib_module_names) | own
