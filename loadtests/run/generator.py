"""The generating process: Locust in a session of its own, read through a pipe; it ends when told."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from loadtests import wire
from loadtests.errors import HarnessError

LOG_TAIL_LINES = 15


class Generator:
    """A running child and the messages it has written; `None` in `messages` marks the end of the pipe."""

    def __init__(self, process: subprocess.Popen[bytes], read_fd: int, log_path: Path) -> None:
        self._process = process
        self._log_path = log_path
        self.messages: queue.Queue[wire.Message | HarnessError | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(read_fd,), name="generator-reader", daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls,
        root: Path,
        plan_path: Path,
        log_path: Path,
        environ: Mapping[str, str],
        *,
        ui_port: int | None,
        shown_host: str,
    ) -> "Generator":
        """Starts Locust on `plan_path`, headless or with its web UI on 127.0.0.1:`ui_port`.

        `shown_host` is what the web UI names as the target; where load goes is in the plan.
        """
        read_fd, write_fd = os.pipe()
        mode = ["--headless"] if ui_port is None else ["--web-host", "127.0.0.1", "--web-port", str(ui_port)]
        command = [
            *(sys.executable, "-m", "locust", "-f", str(root / "loadtests" / "locustfile.py")),
            *("--plan", str(plan_path), "--wire-fd", str(write_fd), "--host", shown_host),
            *("--loglevel", "WARNING", *mode),
        ]
        try:
            with log_path.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    cwd=root,
                    env=dict(environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(write_fd,),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(read_fd)
            raise HarnessError(f"the generator could not be started: {error}") from error
        finally:
            os.close(write_fd)
        return cls(process, read_fd, log_path)

    def _read(self, read_fd: int) -> None:
        with os.fdopen(read_fd, "rb") as pipe:
            for line in pipe:
                try:
                    self.messages.put(wire.decode(line))
                except msgspec.DecodeError as error:
                    # A child killed while writing leaves half a line; its missing end is what judges the run.
                    self.messages.put(HarnessError(f"the generator wrote a line that is no message: {error}"))
        self.messages.put(None)

    def stop(self) -> None:
        """Asks the child to stop; it cuts off what is in flight and says so."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the child at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float | None) -> int:
        """Exit status of the child; kills it when it has not ended by `timeout_s` (None: as long as it takes)."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def log_tail(self) -> str:
        """The last lines the child printed."""
        lines = self._log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])
