"""Control groups of both versions, sysctls and ulimits on a made-up host."""

import pytest

from playbooks.module_utils.snapshot.host import AbsentError
from playbooks.module_utils.snapshot.limits import (
    read_cgroup_version,
    read_cpu_quota,
    read_memory_limit,
    read_sysctls,
    read_throttled_periods,
    read_throttled_s,
    read_ulimits,
)
from tests.unit.playbooks.snapshot.conftest import MakeHost

V2 = "/sys/fs/cgroup"
V1_NO_LIMIT = "9223372036854771712"


def test_v2_takes_the_lowest_limit_on_the_way_up(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/proc/self/cgroup": "0::/outer/inner/leaf\n",
            f"{V2}/cgroup.controllers": "cpu memory",
            f"{V2}/outer/cpu.max": "150000 100000",
            f"{V2}/outer/inner/cpu.max": "300000 100000",
            f"{V2}/outer/inner/leaf/cpu.max": "max 100000",
            f"{V2}/outer/memory.max": "2000",
            f"{V2}/outer/inner/memory.max": "1000",
            f"{V2}/outer/inner/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 2500000\n",
        }
    )

    assert read_cgroup_version(host) == 2
    assert read_cpu_quota(host) == 1.5
    assert read_memory_limit(host) == 1000
    assert read_throttled_periods(host) == 3
    assert read_throttled_s(host) == 2.5


def test_v1_in_a_container_reads_the_mounted_root_when_its_own_folder_is_not_there(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
            f"{V2}/cpu/cpu.cfs_quota_us": "50000",
            f"{V2}/cpu/cpu.cfs_period_us": "100000",
            f"{V2}/cpu/cpu.stat": "nr_periods 4\nnr_throttled 2\nthrottled_time 3000000000\n",
            f"{V2}/memory/memory.limit_in_bytes": "4096",
        }
    )

    assert read_cgroup_version(host) == 1
    assert read_cpu_quota(host) == 0.5
    assert read_memory_limit(host) == 4096
    assert read_throttled_s(host) == 3.0


def test_no_limit_is_a_value_in_both_versions(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/proc/self/cgroup": "1:cpu:/\n2:memory:/\n",
            f"{V2}/cpu/cpu.cfs_quota_us": "-1",
            f"{V2}/cpu/cpu.cfs_period_us": "100000",
            f"{V2}/memory/memory.limit_in_bytes": V1_NO_LIMIT,
        }
    )

    assert read_cpu_quota(host) == "unlimited"
    assert read_memory_limit(host) == "unlimited"
    with pytest.raises(AbsentError, match="counts throttling"):
        read_throttled_periods(host)


def test_a_host_without_control_groups_is_absent_not_unlimited(make_host: MakeHost) -> None:
    with pytest.raises(AbsentError, match="no CPU controller"):
        read_cpu_quota(make_host())


def test_sysctls_are_listed_by_dotted_name_with_single_spaces(make_host: MakeHost) -> None:
    host = make_host(
        {
            "/proc/sys/net/core/somaxconn": "4096\n",
            "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
            "/proc/sys/kernel/hostname": "not-tuned",
        }
    )

    assert read_sysctls(host) == {"net.core.somaxconn": "4096", "net.ipv4.ip_local_port_range": "32768 60999"}


def test_ulimits_have_both_bounds(make_host: MakeHost) -> None:
    limits = (
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max open files            1024                 1048576              files\n"
        "Max processes             unlimited            unlimited            processes\n"
    )

    assert read_ulimits(make_host({"/proc/self/limits": limits})) == {
        "open_files": {"soft": "1024", "hard": "1048576"},
        "processes": {"soft": "unlimited", "hard": "unlimited"},
    }
