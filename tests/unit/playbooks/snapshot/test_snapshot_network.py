"""Interfaces, file systems and clock offset on a made-up host; no address is recorded."""

import pytest

from playbooks.module_utils.snapshot.host import AbsentError
from playbooks.module_utils.snapshot.network import (
    parse_chrony_offset_s,
    parse_timesyncd_offset_s,
    read_filesystems,
    read_interfaces,
    read_ntp_offset_s,
    read_offloads,
)
from tests.unit.playbooks.snapshot.conftest import MakeHost

NET = "/sys/class/net"
TRACKING = (
    "A29FC87B,162.159.200.123,4,1700000000.1,-0.000012345,0.000001,0.00002,-3.1,0.0,0.04,0.02,0.001,64.5,Normal"
)


def test_interfaces_tell_what_they_know_and_passing_ones_are_left_out(make_host: MakeHost) -> None:
    host = make_host(
        {
            f"{NET}/eth0/mtu": "1500\n",
            f"{NET}/eth0/operstate": "up\n",
            f"{NET}/eth0/speed": "25000\n",
            f"{NET}/eth0/address": "02:00:00:aa:bb:cc\n",
            f"{NET}/lo/mtu": "65536\n",
            f"{NET}/virt0/speed": "-1\n",
            f"{NET}/veth12ab/mtu": "1500\n",
        }
    )
    (host.path(f"{NET}/eth0/device")).mkdir()
    (host.path(f"{NET}/eth0/device/driver")).symlink_to("/sys/bus/pci/drivers/ice")

    assert read_interfaces(host) == {
        "eth0": {"mtu": 1500, "operstate": "up", "speed_mbit_s": 25000, "driver": "ice"},
        "lo": {"mtu": 65536},
        "virt0": {},
    }


def test_offloads_keep_the_ones_that_matter(make_host: MakeHost) -> None:
    features = (
        "Features for eth0:\ntcp-segmentation-offload: on\n\trx-checksumming: on [fixed]\nntuple-filters: off\n"
    )
    host = make_host({f"{NET}/eth0/mtu": "1500"}, {"ethtool -k eth0": features})

    assert read_offloads(host) == {"eth0": {"tcp-segmentation-offload": "on", "rx-checksumming": "on"}}


def test_the_last_mount_of_a_place_counts_and_devices_are_not_named(make_host: MakeHost) -> None:
    mounts = (
        "25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=1k\n"
        "27 1 254:0 / / rw,noatime shared:1 - ext4 /dev/disk/by-uuid/0f1e rw,discard\n"
        "28 27 0:25 / /mnt/other ro - tmpfs none ro\n"
        "30 25 0:27 / /dev/shm rw,nosuid - tmpfs tmpfs rw\n"
    )

    assert read_filesystems(make_host({"/proc/self/mountinfo": mounts})) == {
        "/dev/shm": {"type": "tmpfs", "options": "rw,nosuid"},
        "/": {"type": "ext4", "options": "rw,noatime"},
    }


def test_offset_of_chrony() -> None:
    assert parse_chrony_offset_s(TRACKING) == -0.000012345


@pytest.mark.parametrize(
    ("line", "offset_s"), [("Offset: +1.5ms", 0.0015), ("Offset: -220us", -0.00022), ("Offset: 2s", 2.0)]
)
def test_offset_of_timesyncd(line: str, offset_s: float) -> None:
    assert parse_timesyncd_offset_s(f"  Server: 1.2.3.4\n  {line}\n") == pytest.approx(offset_s)


def test_timesyncd_is_asked_when_chrony_is_not_there(make_host: MakeHost) -> None:
    assert read_ntp_offset_s(make_host(commands={"timedatectl timesync-status": "Offset: +3ms"})) == pytest.approx(
        0.003
    )


def test_without_both_the_reason_names_both(make_host: MakeHost) -> None:
    with pytest.raises(AbsentError, match=r"chronyc is not on PATH; timedatectl is not on PATH"):
        read_ntp_offset_s(make_host())
