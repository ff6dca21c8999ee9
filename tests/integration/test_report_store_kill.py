"""A writer killed at any moment leaves a run folder that reads: the old file or the new one, and whole lines."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests.results.store import RunFolder

KILLS = 12
ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from loadtests.results.events import RunEvent
from loadtests.results.store import RunFolder
folder = RunFolder(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    folder.write_json("run.json", {"number": number, "filling": "x" * 200_000})
    folder.append_event(RunEvent(float(number), "run", "written", "x" * 500))
    if number == 1:
        print("ready", flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_a_readable_folder(tmp_path: Path) -> None:
    rng = random.Random(5)
    for attempt in range(KILLS):
        path = tmp_path / str(attempt)
        path.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            moment = time.monotonic() + rng.random() * 0.05
            while time.monotonic() < moment:
                pass
            writer.send_signal(signal.SIGKILL)
        written = json.loads((path / "run.json").read_text())["number"]
        events = RunFolder(path).load_events()
        assert written - 1 <= len(events) <= written
    print(f"readable after kill: {KILLS} of {KILLS}")
