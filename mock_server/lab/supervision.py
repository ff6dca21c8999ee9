"""The process supervisor: its configuration as text, its start, and its calls over a Unix socket."""

import http.client
import shlex
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mock_server.lab.errors import SupervisorError
from mock_server.lab.paths import LabPaths
from mock_server.lab.plan import Service

CALL_TIMEOUT_S = 5.0
_RUNNING_STATES = ("STARTING", "RUNNING")
_ENDED_STATES = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
_LOG_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor says of one program. `pid` is None when it does not run."""

    name: str
    state: str
    pid: int | None
    started_at_s: float
    message: str

    @property
    def is_running(self) -> bool:
        """True from its start until it ends."""
        return self.state in _RUNNING_STATES

    @property
    def is_ended(self) -> bool:
        """True when it stays as it is unless it is started: the supervisor is not about to try it again."""
        return self.state in _ENDED_STATES


def render_config(services: tuple[Service, ...], paths: LabPaths, open_files: int, user: str | None) -> str:
    """The supervisor's configuration. `user` is named only for root, which supervisor wants to be told."""
    sections = [
        _render_section("unix_http_server", {"file": str(paths.socket), "chmod": "0700"}),
        _render_section(
            "supervisord",
            {
                "nodaemon": "true",
                "silent": "true",
                "logfile": str(paths.log_dir / "supervisord.log"),
                "logfile_maxbytes": str(_LOG_BYTES),
                "logfile_backups": "1",
                "pidfile": str(paths.pid_file),
                "minfds": str(open_files),
                **({"user": user} if user else {}),
            },
        ),
        _render_section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        *(_render_program(service, paths.log_dir) for service in services),
    ]
    return "\n".join(sections)


def _render_program(service: Service, log_dir: Path) -> str:
    options = {
        "command": shlex.join(service.command),
        "directory": str(service.directory),
        "priority": str(service.rank),
        # Started by the lab, one rank after another: the mock would begin degraded beside a Redis not yet ready.
        "autostart": "false",
        "autorestart": "unexpected",
        "startsecs": "1",
        "stopwaitsecs": str(service.stop_wait_s),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": str(log_dir / f"{service.name}.log"),
        "stdout_logfile_maxbytes": str(_LOG_BYTES),
        "stdout_logfile_backups": "1",
    }
    if service.environment:
        pairs = (f"{name}={_quote_value(value)}" for name, value in sorted(service.environment.items()))
        options["environment"] = ",".join(pairs)
    return _render_section(f"program:{service.name}", options)


def _quote_value(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _render_section(heading: str, options: Mapping[str, str]) -> str:
    lines = [f"[{heading}]"]
    for name, value in options.items():
        if "\n" in value or " ;" in value or " #" in value:
            raise SupervisorError(
                f"The process supervisor cannot hold this value of {name}: {value!r} "
                "(it takes ' ;' and ' #' for a comment). Move the checkout to a folder without them."
            )
        lines.append(f"{name} = {value.replace('%', '%%')}")
    return "\n".join([*lines, ""])


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, with a time-out on every step."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CALL_TIMEOUT_S)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._calls: _UnixConnection | None = None

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        self._calls = _UnixConnection(self._path)
        return self._calls

    def close(self) -> None:
        if self._calls is not None:
            self._calls.close()
            self._calls = None


class Supervisor:
    """The running supervisor behind `socket_path`; each call raises SupervisorError when it is refused."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    def is_answering(self) -> bool:
        """True when a supervisor answers and is not shutting down."""
        try:
            state = self._call("supervisor.getState")
        except SupervisorError:
            return False
        return isinstance(state, dict) and state.get("statename") == "RUNNING"

    def fetch_states(self) -> dict[str, ProgramState]:
        """Each program's state by name."""
        rows = self._call("supervisor.getAllProcessInfo")
        if not isinstance(rows, list):
            raise SupervisorError(f"The process supervisor answered {rows!r} where a list was expected.")
        return {str(row["name"]): _parse_state(row) for row in rows if isinstance(row, dict)}

    def start(self, name: str) -> None:
        """Starts one program without waiting for it."""
        self._call("supervisor.startProcess", name, False)

    def stop(self, name: str) -> None:
        """Tells one program to end without waiting for it."""
        self._call("supervisor.stopProcess", name, False)

    def shut_down(self) -> None:
        """Tells it to stop every program and end; returns at once."""
        self._call("supervisor.shutdown")

    def _call(self, method: str, *arguments: str | bool) -> object:
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_UnixTransport(self._socket_path))
        try:
            with proxy:
                answer: object = getattr(proxy, method)(*arguments)
                return answer
        except xmlrpc.client.Fault as fault:
            raise SupervisorError(
                f"The process supervisor refused {method}{arguments}: {fault.faultString}"
            ) from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise SupervisorError(
                f"The process supervisor does not answer on {self._socket_path}: {error}"
            ) from error


def _parse_state(row: Mapping[str, object]) -> ProgramState:
    pid, start = row.get("pid"), row.get("start")
    return ProgramState(
        name=str(row["name"]),
        state=str(row["statename"]),
        pid=pid if isinstance(pid, int) and pid > 0 else None,
        started_at_s=float(start) if isinstance(start, int) else 0.0,
        message=str(row.get("spawnerr") or row.get("description") or ""),
    )


def spawn_supervisor(paths: LabPaths, environment: Mapping[str, str], root: Path) -> subprocess.Popen[bytes]:
    """Starts supervisord in a session of its own, so that Ctrl-C at the terminal does not reach it."""
    with (paths.log_dir / "supervisord.out").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(paths.supervisor_config)],
            cwd=root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
