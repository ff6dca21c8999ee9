"""The lab in containers: whether an engine answers, and the command lines handed to Docker Compose."""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from mock_server.lab.errors import ComposeError
from mock_server.lab.paths import LabPaths
from mock_server.lab.plan import HOST, build_lab_file
from mock_server.lab.ports import find_port_owner, resolve_ports
from mock_server.lab.settings import PORT_VARIABLES, LabSettings, Mode, Ports
from mock_server.lab.state import LabState, ServiceRecord, write_json, write_state

PING_TIMEOUT_S = 2
GRAFANA_IMAGE_UID = 472
_DEFAULT_SOCKET = Path("/var/run/docker.sock")


def has_engine(variables: Mapping[str, str]) -> bool:
    """True when a Docker engine answers within two seconds."""
    if "DOCKER_HOST" not in variables and not _DEFAULT_SOCKET.exists():
        return False
    # Imported here: it costs a native lab a quarter of a second for nothing.
    import docker
    from docker.errors import DockerException
    from requests import RequestException

    try:
        client = docker.from_env(timeout=PING_TIMEOUT_S, environment=dict(variables))
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (DockerException, RequestException, OSError):
        return False


def has_compose(variables: Mapping[str, str]) -> bool:
    """True when the Docker client has its Compose plugin."""
    try:
        done = subprocess.run(["docker", "compose", "version"], env=dict(variables), capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def choose_mode(asked: Mode, has_docker: Callable[[], bool]) -> Mode:
    """`native` or `compose`: what was asked for, else compose when Docker can run it."""
    if asked != "auto":
        return asked
    return "compose" if has_docker() else "native"


def build_command(root: Path, stack: str, *arguments: str) -> list[str]:
    """The Docker Compose command line for `stack` of the checkout at `root`."""
    return ["docker", "compose", "--file", str(root / "docker-compose.yml"), "--profile", stack, *arguments]


def build_variables(variables: Mapping[str, str], ports: Ports, password_file: Path, user_id: int) -> dict[str, str]:
    """What Compose interpolates: the person's `variables` with the resolved ports and Grafana's password file.

    Only its owner reads that file, so Grafana runs as `user_id`, or as its image's own user when that is root.
    """
    chosen = asdict(ports)
    defaults = {
        "GRAFANA_ADMIN_PASSWORD_FILE": str(password_file),
        "GRAFANA_UID": str(user_id or GRAFANA_IMAGE_UID),
    }
    return {**defaults, **variables, **{name: str(chosen[key]) for key, (name, _) in PORT_VARIABLES.items()}}


def make_password_file(path: Path, user_id: int, token: str) -> None:
    """Writes `token` to `path` for Grafana's eyes only, unless there is one from an earlier start."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as handle:
        handle.write(token)
    if user_id == 0:
        os.chown(path, GRAFANA_IMAGE_UID, -1)


def start_compose(
    settings: LabSettings, variables: Mapping[str, str], paths: LabPaths, running: LabState | None
) -> LabState:
    """Brings the stack up in containers and returns when all are healthy. Raises ComposeError, PortError."""
    ports = settings.ports
    if running is None:
        ports = resolve_ports(ports, PORT_VARIABLES, find_port_owner)
    elif ports.redis_fallback is not None:
        ports = replace(ports, redis=running.redis_port)
    state = build_compose_state(settings.stack, ports)
    write_state(paths.state_file, state)
    make_password_file(paths.password_file, os.geteuid(), secrets.token_urlsafe(24))
    interpolated = build_variables(variables, ports, paths.password_file, os.geteuid())
    try:
        run_compose(settings, interpolated, "up", "--detach", "--wait")
    except BaseException:
        if running is None:
            with contextlib.suppress(ComposeError):
                run_compose(settings, interpolated, "down", "--remove-orphans")
            paths.state_file.unlink(missing_ok=True)
        raise
    write_json(paths.lab_file, state.lab_file)
    return state


def build_compose_state(stack: str, ports: Ports) -> LabState:
    """The state of a lab in containers; Compose knows the rest."""
    api, prometheus = f"http://{HOST}:{ports.consoul}", f"http://{HOST}:{ports.prometheus}"
    metrics, grafana = f"http://{HOST}:{ports.metrics}/metrics", f"http://{HOST}:{ports.grafana}"
    redis = f"redis://{HOST}:{ports.redis}"
    services = (
        ServiceRecord("redis", (redis,), (("Redis", redis),), 0),
        ServiceRecord(
            "consoul", (f"{api}/ready", metrics), (("API", api), ("docs", f"{api}/docs"), ("metrics", metrics)), 1
        ),
        ServiceRecord("prometheus", (f"{prometheus}/-/ready",), (("Prometheus", prometheus),), 1),
        ServiceRecord("grafana", (f"{grafana}/api/health",), (("Grafana", grafana),), 1),
    )
    lab_file = build_lab_file(stack, "compose", ports, has_prometheus=True, has_grafana=True)
    return LabState(stack, "compose", services, (), "", ports.redis, lab_file)


def run_compose(settings: LabSettings, variables: Mapping[str, str], *arguments: str) -> None:
    """Runs one Docker Compose command with its output on this terminal. Raises ComposeError when it fails."""
    command = build_command(settings.root, settings.stack, *arguments)
    try:
        code = subprocess.run(command, env=dict(variables), check=False).returncode
    except FileNotFoundError as error:
        raise ComposeError("LAB=compose needs the `docker` command; install it, or use LAB=native.") from error
    if code != 0:
        raise ComposeError(
            f"`{' '.join(command)}` ended with exit code {code} (its output is above). "
            "LAB=native runs the same services without Docker."
        )
