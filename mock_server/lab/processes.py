"""Processes of a lab as the system sees them: found by the marker they inherited, measured, and ended."""

import contextlib
from collections.abc import Iterable

import psutil

from mock_server.lab.environment import MARKER_VARIABLE
from mock_server.lab.paths import LabPaths
from mock_server.lab.readiness import wait_until

END_TIMEOUT_S = 5.0
# They write their title over the environment they were given, so the marker may be unreadable.
_SELF_TITLED = ("redis-server", "valkey-server", "nginx")


def find_lab_processes(paths: LabPaths) -> list[psutil.Process]:
    """Every process with the lab's marker, and every server at work in a folder of the lab; never this one."""
    own_folders = (str(paths.redis_dir), str(paths.nginx_dir))
    own_pid = psutil.Process().pid
    return [
        process
        for process in psutil.process_iter()
        if process.pid != own_pid and _belongs(process, paths.marker, own_folders)
    ]


def _belongs(process: psutil.Process, marker: str, own_folders: tuple[str, ...]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.name().startswith(_SELF_TITLED) and process.cwd() in own_folders:
            return True
        return process.environ().get(MARKER_VARIABLE) == marker
    except (psutil.Error, OSError):
        # Another user's process, or one that ended while we looked.
        return False


def wake_processes(processes: Iterable[psutil.Process]) -> None:
    """Lets frozen processes go on, so that they see the request to end."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def wait_for_end(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Returns when all `processes` ended or `timeout_s` went by, with those that still run.

    One that only waits for its parent to take note of its end has ended: in a container that may take seconds.
    """
    remaining = list(processes)

    def have_ended() -> bool:
        remaining[:] = [process for process in remaining if _runs(process)]
        return not remaining

    wait_until(have_ended, timeout_s)
    return remaining


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_processes(processes: Iterable[psutil.Process], timeout_s: float = END_TIMEOUT_S) -> int:
    """Ends `processes` politely, then by force; returns how many there were."""
    remaining = list(processes)
    for process in remaining:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    wake_processes(remaining)
    stubborn = wait_for_end(remaining, timeout_s)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(stubborn, timeout_s)
    return len(remaining)


def measure_memory_bytes(pid: int) -> int | None:
    """Resident memory of a process and all its descendants; None when it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return None
    total = 0
    for member in family:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total
