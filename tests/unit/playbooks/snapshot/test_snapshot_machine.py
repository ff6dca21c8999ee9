"""Probes of the machine on a made-up host: x86 and Arm, virtual and bare, with and without each source."""

import pytest

from playbooks.module_utils.snapshot.host import AbsentError, CommandFailedError, Host
from playbooks.module_utils.snapshot.machine import (
    GPU_PROBES,
    MACHINE_PROBES,
    parse_cpu_list,
    read_boost,
    read_c_states,
    read_container,
    read_cpu_model,
    read_governor,
    read_gpus,
    read_huge_pages,
    read_hypervisor,
    read_os,
    read_physical_cores,
    read_virtualisation,
)
from playbooks.module_utils.snapshot.probe import read_fields
from tests.unit.playbooks.snapshot.conftest import MakeHost

CPU = "/sys/devices/system/cpu"
X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nmicrocode\t: 0x10\nflags\t\t: fpu hypervisor lm\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"


def test_x86_host_is_read_whole(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
            "/proc/sys/kernel/osrelease": "6.1.0\n",
            "/proc/cmdline": "quiet luks.key=hunter2\n",
            "/proc/cpuinfo": X86,
            "/proc/meminfo": "MemTotal:  1000 kB\nSwapTotal:  0 kB\n",
            f"{CPU}/online": "0-1\n",
            f"{CPU}/smt/control": "off\n",
            f"{CPU}/vulnerabilities/l1tf": "Not affected\n",
        },
        machine="x86_64",
    )

    fields = read_fields(MACHINE_PROBES, host)

    assert fields["os.name"] == {"value": "Debian GNU/Linux 12", "class": "identity"}
    assert fields["os.architecture"]["value"] == "x86_64"
    assert fields["kernel.command_line"]["value"] == "quiet luks.key=***"
    assert fields["cpu.model"]["value"] == "AMD EPYC"
    assert fields["cpu.microcode"] == {"value": "0x10", "class": "host"}
    assert fields["cpu.logical_cpus"]["value"] == 2
    assert fields["cpu.smt"]["value"] == "off"
    assert fields["cpu.mitigations"]["value"] == {"l1tf": "Not affected"}
    assert fields["memory.total_bytes"]["value"] == 1_024_000
    assert fields["memory.swap_bytes"]["value"] == 0  # measured, not unknown
    assert fields["cpu.boost"] == {
        "value": None,
        "class": "identity",
        "reason": f"{CPU}/cpufreq/boost does not exist",
    }


def test_a_host_with_nothing_gives_only_nulls_with_reasons(make_host: MakeHost) -> None:
    fields = read_fields((*MACHINE_PROBES, *GPU_PROBES), make_host(system="Darwin", release="24.1", machine="arm64"))

    known = {name: field["value"] for name, field in fields.items() if field["value"] is not None}
    assert known == {"os.name": "Darwin", "os.architecture": "arm64", "kernel.release": "24.1"}
    assert all(field["reason"] for field in fields.values() if field["value"] is None)


def test_arm_model_is_told_by_implementer_and_part(make_host: MakeHost) -> None:
    host = make_host({"/proc/cpuinfo": ARM})

    assert read_cpu_model(host) == "Arm implementer 0x41 part 0xd0c"
    with pytest.raises(AbsentError, match="no flags"):
        read_hypervisor(host)


@pytest.mark.parametrize(("text", "numbers"), [("0-3,8", [0, 1, 2, 3, 8]), ("0", [0]), ("", [])])
def test_cpu_lists(text: str, numbers: list[int]) -> None:
    assert parse_cpu_list(text) == numbers


def test_threads_of_one_core_count_once(make_host: MakeHost) -> None:
    files = {f"{CPU}/online": "0-3"}
    for cpu, (package, core) in enumerate([(0, 0), (0, 1), (0, 0), (1, 0)]):
        files[f"{CPU}/cpu{cpu}/topology/physical_package_id"] = str(package)
        files[f"{CPU}/cpu{cpu}/topology/core_id"] = str(core)

    assert read_physical_cores(make_host(files)) == 3


def test_governors_that_differ_are_all_named(make_host: MakeHost) -> None:
    host = make_host(
        {
            f"{CPU}/cpufreq/policy0/scaling_governor": "performance\n",
            f"{CPU}/cpufreq/policy1/scaling_governor": "powersave\n",
        }
    )

    assert read_governor(host) == "performance,powersave"


def test_boost_of_intel_is_the_inverse_of_no_turbo(make_host: MakeHost) -> None:
    assert read_boost(make_host({f"{CPU}/intel_pstate/no_turbo": "1\n"})) is False
    assert read_boost(make_host({f"{CPU}/intel_pstate/no_turbo": "0\n"})) is True


def test_c_states_say_which_may_be_entered(make_host: MakeHost) -> None:
    folder = f"{CPU}/cpu0/cpuidle"
    host = make_host(
        {
            f"{folder}/state0/name": "POLL",
            f"{folder}/state0/disable": "0",
            f"{folder}/state1/name": "C6",
            f"{folder}/state1/disable": "1",
        }
    )

    assert read_c_states(host) == {"POLL": True, "C6": False}


def test_the_choice_of_huge_pages_is_the_one_in_brackets(make_host: MakeHost) -> None:
    host = make_host({"/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n"})

    assert read_huge_pages(host) == "madvise"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"/.dockerenv": "", "/proc/self/cgroup": "0::/"}, "docker"),
        ({"/run/systemd/container": "lxc\n"}, "lxc"),
        ({"/proc/self/cgroup": "0::/kubepods/pod1/x"}, "kubepods"),
        ({"/proc/self/cgroup": "0::/user.slice"}, "none"),
    ],
)
def test_container_is_known_by_its_marks(make_host: MakeHost, files: dict[str, str], kind: str) -> None:
    assert read_container(make_host(files)) == kind


def test_bare_metal_is_a_value_although_the_command_fails(make_host: MakeHost) -> None:
    def run(command: tuple[str, ...]) -> bytes:
        raise CommandFailedError(command[0], 1, "none\n")

    host = make_host()
    bare = Host(root=host.root, run=run, clock=host.clock)

    assert read_virtualisation(bare) == "none"


def test_gpus_are_one_mapping_each(make_host: MakeHost) -> None:
    query = "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader"
    host = make_host(commands={query: "NVIDIA H200, 143771 MiB\nNVIDIA H200, 143771 MiB\n"})

    assert read_gpus(host, ("name", "memory.total")) == [{"name": "NVIDIA H200", "memory.total": "143771 MiB"}] * 2


def test_system_name_stands_in_for_a_missing_os_release(make_host: MakeHost) -> None:
    assert read_os(make_host(system="FreeBSD")) == "FreeBSD"
