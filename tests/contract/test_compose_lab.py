"""The lab in containers: hardened service by service, and the same lab as the one of processes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mock_server.lab.compose import GRAFANA_IMAGE_UID, MOCK_IMAGE_UID, build_instances_file
from mock_server.lab.environment import CONSOUL_DEFAULTS
from mock_server.lab.plan import PROMETHEUS_RETENTION, build_prometheus, build_redis
from mock_server.lab.settings import HOST, PORT_VARIABLES, Ports
from mock_server.settings import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
ADDED = build_instances_file(Ports(8000, 9090, 6379, 9091), 3, Path("/lab/nginx/nginx.conf"))["services"]
HARDENED = {**SERVICES, "nginx": ADDED["nginx"]}
EACH_SERVICE = pytest.mark.parametrize("service", HARDENED.values(), ids=HARDENED)
# No default holds here; the lab gives them.
GIVEN_BY_THE_LAB = ("CONSOUL_TIER_KEYS", "CONSOUL_TIER_LIMITS")


def resolved(text: str) -> str:
    """The text as Compose reads it when no variable is set."""
    return DEFAULT.sub(r"\2", text)


# nine checks for every service


@EACH_SERVICE
def test_it_does_not_run_as_root(service: dict[str, Any]) -> None:
    assert int(resolved(service["user"]).split(":")[0]) > 0


@EACH_SERVICE
def test_its_root_is_read_only_and_scratch_is_in_memory(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert all("size=" in mount for mount in service["tmpfs"])


@EACH_SERVICE
def test_it_has_no_capability(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service


@EACH_SERVICE
def test_it_cannot_gain_privileges(service: dict[str, Any]) -> None:
    assert "no-new-privileges:true" in service["security_opt"]


@EACH_SERVICE
def test_its_health_is_checked_by_a_program_of_its_image(service: dict[str, Any]) -> None:
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["healthcheck"]["test"][1] in {"valkey-cli", "python", "wget"}
    assert service["healthcheck"]["timeout"]


@EACH_SERVICE
def test_its_image_is_pinned(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-[a-z]+)?(@sha256:[0-9a-f]{64})?", service["image"])


@EACH_SERVICE
def test_its_memory_and_processes_are_limited(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 512


@EACH_SERVICE
def test_its_ports_are_published_on_loopback_only(service: dict[str, Any]) -> None:
    assert service["ports"]
    assert all(port.startswith(f"{HOST}:") for port in service["ports"])
    assert service.get("network_mode") is None


@EACH_SERVICE
def test_its_secrets_are_files(service: dict[str, Any]) -> None:
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY")
    for name, value in service.get("environment", {}).items():
        if value is None:
            continue
        assert not secret.search(name) or (name.endswith("_FILE") and value.startswith("/run/secrets/"))
        assert "@" not in value


# the same lab as the one of processes


def test_there_is_no_default_password() -> None:
    assert COMPOSE["secrets"]["grafana_admin_password"]["file"].startswith("${GRAFANA_ADMIN_PASSWORD_FILE:?")


def test_there_is_no_default_token_and_the_mock_runs_as_the_user_that_may_read_it() -> None:
    assert COMPOSE["secrets"]["control_token"]["file"].startswith("${MOCK_CONTROL_TOKEN_FILE:?")
    assert SERVICES["consoul"]["secrets"] == ["control_token"]
    assert SERVICES["consoul"]["user"] == f"${{CONSOUL_UID:-{MOCK_IMAGE_UID}}}:10001"


def test_several_instances_are_replicas_and_nginx_has_the_port() -> None:
    assert ADDED["consoul"] == {"deploy": {"replicas": 3}}
    assert ADDED["nginx"]["ports"] == [f"{HOST}:8000:8000"]
    assert ADDED["nginx"]["volumes"] == ["/lab/nginx/nginx.conf:/etc/lab/nginx.conf:ro"]
    assert ADDED["nginx"]["depends_on"] == {"consoul": {"condition": "service_healthy"}}
    assert ADDED["nginx"]["profiles"] == SERVICES["consoul"]["profiles"]
    hardened = ("restart", "init", "logging", "networks", "ulimits")
    assert {key: ADDED["nginx"][key] for key in hardened} == {key: SERVICES["consoul"][key] for key in hardened}


def test_the_lab_gives_the_password_to_the_user_grafana_runs_as() -> None:
    assert SERVICES["grafana"]["user"] == f"${{GRAFANA_UID:-{GRAFANA_IMAGE_UID}}}:0"
    assert SERVICES["grafana"]["secrets"] == ["grafana_admin_password"]


def test_names_and_ports_are_those_of_the_lab_of_processes() -> None:
    published = {
        variable: int(default)
        for service in SERVICES.values()
        for port in service["ports"]
        for variable, default in DEFAULT.findall(port)
    }
    inside = {int(port.rsplit(":", 1)[1]) for service in SERVICES.values() for port in service["ports"]}

    assert set(SERVICES) == {"redis", "consoul", "prometheus", "grafana"}
    assert published == dict(PORT_VARIABLES.values())
    assert inside == set(published.values())


def test_the_mock_gets_the_settings_of_the_lab_and_addresses_only() -> None:
    given = SERVICES["consoul"]["environment"].items()
    environment = {name: resolved(value) for name, value in given if value is not None}
    own = {
        "CONSOUL_HOST": "0.0.0.0",
        "CONSOUL_PORT": "8000",
        "CONSOUL_OBSERVABILITY_METRICS_PORT": "9090",
        "CONSOUL_SESSION_REDIS_URL": "redis://redis:6379/0",
        "CONSOUL_RATE_LIMIT_REDIS_URL": "redis://redis:6379/1",
        "CONSOUL_WORKERS": "1",
        "MOCK_CONTROL_TOKEN_FILE": "/run/secrets/control_token",
    }
    for name in GIVEN_BY_THE_LAB:
        assert environment.pop(name).startswith(f"${{{name}:?")

    assert environment == {
        **{name: value for name, value in CONSOUL_DEFAULTS.items() if name not in GIVEN_BY_THE_LAB},
        **own,
    }


def test_no_default_holds_a_brace_which_compose_would_take_for_its_end() -> None:
    text = (ROOT / "docker-compose.yml").read_text()

    assert "{" not in "".join(default for _, default in DEFAULT.findall(text))
    assert not re.search(r"\$\{\w+:-[^}]*\{", text)


def test_every_other_variable_of_the_mock_is_handed_on_when_it_is_set() -> None:
    environment = SERVICES["consoul"]["environment"]
    # REDIS_URL is a default for addresses that are given; without metrics the lab would scrape nothing.
    left_out = {"REDIS_URL", "CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED"}

    assert set(environment) == set(VARIABLES) - left_out


def test_a_variable_of_the_person_replaces_the_lab_setting_of_the_same_name() -> None:
    for name, value in SERVICES["consoul"]["environment"].items():
        for variable, _ in DEFAULT.findall(value or ""):
            assert variable == name


def test_redis_runs_with_the_options_of_the_lab_of_processes() -> None:
    native = build_redis("redis-server", 6379, Path("/data")).command[1:]
    words = SERVICES["redis"]["command"][1:]
    options = dict(zip(words[::2], words[1::2], strict=True))

    assert options.pop("--protected-mode") == "no"
    assert options.pop("--bind") == "0.0.0.0"
    expected = dict(zip(native[::2], native[1::2], strict=True))
    assert expected.pop("--bind") == HOST
    assert options == expected


def test_prometheus_runs_with_the_options_of_the_lab_of_processes() -> None:
    native = build_prometheus("prometheus", 9091, Path("/etc/prometheus/prometheus.compose.yml"), Path("/prometheus"))

    assert [word.replace(HOST, "0.0.0.0") for word in native.command[1:]] == SERVICES["prometheus"]["command"]
    assert f"--storage.tsdb.retention.time={PROMETHEUS_RETENTION}" in SERVICES["prometheus"]["command"]


def test_it_starts_in_the_order_of_health_and_only_the_stack_has_a_profile() -> None:
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}

    assert waits["consoul"] == {"redis": {"condition": "service_healthy"}}
    assert waits["grafana"] == {"prometheus": {"condition": "service_healthy"}}
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "consoul": ["consoul"]
    }


def test_every_file_it_mounts_is_there() -> None:
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [volume.split(":")[0] for volume in mounts if volume.startswith("./")]

    assert files
    assert all((ROOT / name).is_dir() for name in files)
    assert all(volume.endswith(":ro") for volume in mounts if volume.startswith("./"))


def test_the_image_of_the_mock_holds_hashed_packages_and_no_root() -> None:
    dockerfile = (ROOT / "mock_server" / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert "--require-hashes" in dockerfile
    assert all(
        re.search(r"python:3\.11\.\d+-slim", line) for line in dockerfile.splitlines() if line.startswith("FROM")
    )
    assert f"USER {resolved(SERVICES['consoul']['user'])}" in dockerfile
    assert "*" in ignored, "what is not named is not sent to the engine"
