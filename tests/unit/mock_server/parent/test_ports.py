"""Who listens, and what a process uses, from a /proc of our own making."""

from pathlib import Path

import pytest

from mock_server.parent.ports import find_owner
from mock_server.parent.processes import read_usage

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(port: int, state: str, inode: int) -> str:
    queues = "00000000:00000000 00:00000000 00000000"
    return f"   0: 0100007F:{port:04X} 00000000:0000 {state} {queues}     0        0 {inode} 1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(HEADER + row(8000, "01", 111) + row(8000, "0A", 222) + row(9090, "0A", 333))
    files = tmp_path / "4242" / "fd"
    files.mkdir(parents=True)
    (files / "7").symlink_to("socket:[222]")
    (tmp_path / "4242" / "comm").write_text("some server\n")
    (tmp_path / "4242" / "stat").write_text("4242 (a (b) c) S " + " ".join(["0"] * 10) + " 250 150 0 0\n")
    (tmp_path / "4242" / "statm").write_text("1000 25 5 1 0 10 0\n")
    return tmp_path


def test_owner_is_whoever_holds_the_listening_socket(proc: Path) -> None:
    assert find_owner(8000, proc) == "some server (pid 4242)"


def test_owner_is_unknown_when_nobody_visible_listens(proc: Path, tmp_path: Path) -> None:
    assert find_owner(9090, proc) is None
    assert find_owner(1, proc) is None
    assert find_owner(8000, tmp_path / "missing") is None


def test_usage_is_read_past_a_command_with_parentheses(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_CLK_TCK": 100, "SC_PAGE_SIZE": 4096}.__getitem__)
    usage = read_usage(4242, proc)
    assert usage is not None
    assert (usage.cpu_s, usage.resident_bytes, usage.open_files) == (4.0, 25 * 4096, 1)
    assert read_usage(1, proc) is None
