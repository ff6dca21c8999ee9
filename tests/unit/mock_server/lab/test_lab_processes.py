from typing import Any

import psutil
import pytest

from mock_server.lab.processes import wait_for_end


def test_a_process_that_ended_is_not_waited_for_until_its_parent_takes_note(monkeypatch: pytest.MonkeyPatch) -> None:
    process: Any = psutil.Process()
    monkeypatch.setattr(process, "status", lambda: psutil.STATUS_ZOMBIE)
    assert wait_for_end([process], timeout_s=10) == []


def test_those_that_still_run_are_named() -> None:
    process = psutil.Process()
    assert wait_for_end([process], timeout_s=0) == [process]
