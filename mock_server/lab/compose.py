"""The lab in containers: whether an engine answers, and the command lines handed to Docker Compose."""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mock_server.lab.environment import CONSOUL_DEFAULTS, find_control_token
from mock_server.lab.errors import ComposeError
from mock_server.lab.lab_file import Features, build_lab_file, build_notes, shorten
from mock_server.lab.nginx import build_proxy, render_config
from mock_server.lab.paths import LabPaths
from mock_server.lab.ports import find_port_owner, resolve_ports
from mock_server.lab.secret_files import make_secret_file
from mock_server.lab.settings import (
    HOST,
    PORT_VARIABLES,
    Instance,
    LabSettings,
    Mode,
    Ports,
    build_instances,
    list_places,
)
from mock_server.lab.state import LabState, ServiceRecord, write_json, write_state

PING_TIMEOUT_S = 2
GRAFANA_IMAGE_UID = 472
MOCK_IMAGE_UID = 10001
# Nothing in the image of nginx is asked: the lab's own configuration and folders are all it uses.
NGINX_IMAGE = "nginxinc/nginx-unprivileged:1.28.0-alpine"
NGINX_IMAGE_UID = 101
_SCRATCH = "/tmp"  # noqa: S108 - inside the container, in memory
_TIERS = ("CONSOUL_TIER_KEYS", "CONSOUL_TIER_LIMITS")
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


def build_command(settings: LabSettings, paths: LabPaths, *arguments: str) -> list[str]:
    """The Docker Compose command line for the lab; with several instances their file comes second."""
    files = [settings.root / "docker-compose.yml"]
    if paths.compose_instances.exists():
        files.append(paths.compose_instances)
    words = [word for file in files for word in ("--file", str(file))]
    project = ["--project-directory", str(settings.root)]
    return ["docker", "compose", *project, *words, "--profile", settings.stack, *arguments]


def build_variables(
    variables: Mapping[str, str], ports: Ports, instances: tuple[Instance, ...], paths: LabPaths, user_id: int
) -> dict[str, str]:
    """What Compose interpolates: the person's `variables` with the resolved ports and the files of secrets.

    Only its owner reads a secret, so Grafana and the mock run as `user_id`, or as their images' own users when that
    is root. The tiers stand here and not in the file: Compose would end their default at its first brace.
    Several instances are published on a range of ports, one each.
    """
    chosen = {name: str(number) for name, number in asdict(ports).items()}
    if len(instances) > 1:
        chosen["consoul"] = f"{instances[0].port}-{instances[-1].port}"
        chosen["metrics"] = f"{instances[0].metrics_port}-{instances[-1].metrics_port}"
    defaults = {
        "GRAFANA_ADMIN_PASSWORD_FILE": str(paths.password_file),
        "GRAFANA_UID": str(user_id or GRAFANA_IMAGE_UID),
        "CONSOUL_UID": str(user_id or MOCK_IMAGE_UID),
        **{name: CONSOUL_DEFAULTS[name] for name in _TIERS},
    }
    own = {name: chosen[key] for key, (name, _) in PORT_VARIABLES.items()}
    token = variables.get("MOCK_CONTROL_TOKEN_FILE", "").strip() or str(paths.control_token_file)
    given = {name: value for name, value in variables.items() if value.strip() or name not in defaults}
    return {**defaults, **given, **own, "MOCK_CONTROL_TOKEN_FILE": token}


def build_instances_file(ports: Ports, count: int, config_file: Path) -> dict[str, Any]:
    """What is added to docker-compose.yml for `count` instances: as many replicas, and nginx on their port."""
    return {
        "services": {
            "consoul": {"deploy": {"replicas": count}},
            "nginx": {
                "profiles": ["consoul"],
                "image": NGINX_IMAGE,
                "user": f"{NGINX_IMAGE_UID}:{NGINX_IMAGE_UID}",
                "entrypoint": ["nginx", "-p", f"{_SCRATCH}/", "-c", "/etc/lab/nginx.conf", "-e", "stderr"],
                "environment": {"TZ": "UTC"},
                "depends_on": {"consoul": {"condition": "service_healthy"}},
                "ports": [f"{HOST}:{ports.consoul}:8000"],
                "volumes": [f"{config_file}:/etc/lab/nginx.conf:ro"],
                "read_only": True,
                "tmpfs": [f"{_SCRATCH}:mode=1777,size=64m"],
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "init": True,
                "restart": "unless-stopped",
                "networks": ["lab"],
                "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
                "ulimits": {"nofile": 65536},
                "mem_limit": "256m",
                "pids_limit": 64,
                "healthcheck": {
                    "test": ["CMD", "wget", "-q", "--spider", "http://127.0.0.1:8000/ready"],
                    "interval": "2s",
                    "timeout": "2s",
                    "retries": 15,
                },
            },
        }
    }


def prepare_files(
    settings: LabSettings, variables: Mapping[str, str], paths: LabPaths, ports: Ports, count: int
) -> None:
    """Makes the secrets, and for several instances the files that add them; without, takes those away."""
    user_id = os.geteuid()
    is_root = user_id == 0
    make_secret_file(paths.password_file, secrets.token_urlsafe(24), GRAFANA_IMAGE_UID if is_root else None)
    make_secret_file(paths.control_token_file, secrets.token_urlsafe(32), MOCK_IMAGE_UID if is_root else None)
    if count == 1:
        paths.compose_instances.unlink(missing_ok=True)
        return
    # The name stands for every replica: nginx takes all the addresses it has.
    proxy = build_proxy("8000", ["consoul:8000"], variables, processors=os.cpu_count() or 1, open_files=65536)
    paths.nginx_dir.mkdir(parents=True, exist_ok=True)
    paths.nginx_config.write_text(render_config(proxy))
    # The container's user is another one.
    paths.nginx_config.chmod(0o644)
    write_json(paths.compose_instances, build_instances_file(ports, count, paths.nginx_config))


def start_compose(
    settings: LabSettings, variables: Mapping[str, str], paths: LabPaths, running: LabState | None
) -> LabState:
    """Brings the stack up in containers and returns when all are healthy. Raises ComposeError, PortError."""
    ports, count = settings.ports, running.instances if running else settings.instances or 1
    if running is None:
        ports = resolve_ports(ports, list_places(ports, count), find_port_owner)
    elif ports.redis_fallback is not None:
        ports = replace(ports, redis=running.redis_port)
    state = build_compose_state(settings, ports, count, paths, variables)
    write_state(paths.state_file, state)
    prepare_files(settings, variables, paths, ports, count)
    interpolated = build_variables(variables, ports, build_instances(ports, count), paths, os.geteuid())
    try:
        run_compose(settings, paths, interpolated, "up", "--detach", "--wait")
    except BaseException:
        if running is None:
            with contextlib.suppress(ComposeError):
                run_compose(settings, paths, interpolated, "down", "--remove-orphans")
            paths.state_file.unlink(missing_ok=True)
        raise
    write_json(paths.lab_file, state.lab_file)
    return state


def build_compose_state(
    settings: LabSettings, ports: Ports, count: int, paths: LabPaths, variables: Mapping[str, str]
) -> LabState:
    """The state of a lab in containers; Compose knows the rest."""
    api, prometheus = f"http://{HOST}:{ports.consoul}", f"http://{HOST}:{ports.prometheus}"
    instances, grafana = build_instances(ports, count), f"http://{HOST}:{ports.grafana}"
    redis = f"redis://{HOST}:{ports.redis}"
    metrics = tuple(instance.metrics_url for instance in instances)
    links = (("API", api), ("docs", f"{api}/docs"), *(("metrics", url) for url in metrics))
    services = (
        ServiceRecord("redis", (redis,), (("Redis", redis),), 0),
        ServiceRecord("consoul", (f"{api}/ready", *metrics), links, 1),
        ServiceRecord("prometheus", (f"{prometheus}/-/ready",), (("Prometheus", prometheus),), 1),
        ServiceRecord("grafana", (f"{grafana}/api/health",), (("Grafana", grafana),), 1),
    )
    token = find_control_token(variables, settings.root, paths.control_token_file)
    preset = ",".join(settings.presets) or None
    features = Features(has_prometheus=True, has_grafana=True, control_token=token, preset=preset)
    lab_file = build_lab_file(settings.stack, "compose", ports, instances, features)
    notes = [
        f"The password of Grafana's admin is in {shorten(paths.password_file, settings.root)}.",
        *build_notes(features, settings.root),
    ]
    return LabState(settings.stack, "compose", services, tuple(notes), "", ports.redis, lab_file, count)


def build_logs_arguments(service: str | None) -> list[str]:
    """What names one service's logs to Compose: `consoul-2` is the second replica of `consoul`."""
    name, _, number = (service or "").rpartition("-")
    if number.isdecimal():
        return ["--index", number, name]
    return [service] if service else []


def run_compose(settings: LabSettings, paths: LabPaths, variables: Mapping[str, str], *arguments: str) -> None:
    """Runs one Docker Compose command with its output on this terminal. Raises ComposeError when it fails."""
    command = build_command(settings, paths, *arguments)
    try:
        code = subprocess.run(command, env=dict(variables), check=False).returncode
    except FileNotFoundError as error:
        raise ComposeError("LAB=compose needs the `docker` command; install it, or use LAB=native.") from error
    if code != 0:
        raise ComposeError(
            f"`{' '.join(command)}` ended with exit code {code} (its output is above). "
            "LAB=native runs the same services without Docker."
        )
