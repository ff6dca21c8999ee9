"""The lab in containers: when it is chosen, and the command lines it hands over."""

from pathlib import Path
from typing import get_args

import pytest

from mock_server.lab.compose import (
    build_command,
    build_compose_state,
    build_logs_arguments,
    build_variables,
    choose_mode,
    prepare_files,
)
from mock_server.lab.environment import CONSOUL_DEFAULTS
from mock_server.lab.paths import LabPaths
from mock_server.lab.settings import LabSettings, Mode, Ports, build_instances

PORTS = Ports(18000, 19090, 16379, 19091, grafana=13000)
ROOT = Path("/checkout")
PATHS = LabPaths(ROOT / ".lab", Path("/tmp/lab"))
SETTINGS = LabSettings("consoul", "compose", may_bootstrap=False, root=ROOT, lab_dir=PATHS.lab_dir, ports=PORTS)


@pytest.mark.parametrize(
    ("asked", "has_docker", "chosen"),
    [
        ("auto", True, "compose"),
        ("auto", False, "native"),
        ("native", True, "native"),
        ("compose", False, "compose"),
    ],
)
def test_a_docker_engine_decides_unless_somebody_asked(asked: Mode, has_docker: bool, chosen: Mode) -> None:
    assert asked in get_args(Mode)
    assert choose_mode(asked, lambda: has_docker) == chosen


def test_the_command_line_names_file_and_stack_and_what_several_instances_add(tmp_path: Path) -> None:
    paths = LabPaths(tmp_path, Path("/tmp/lab"))
    head = ["docker", "compose", "--project-directory", "/checkout", "--file", "/checkout/docker-compose.yml"]

    assert build_command(SETTINGS, paths, "up", "--wait") == [*head, "--profile", "consoul", "up", "--wait"]
    paths.compose_instances.touch()
    assert build_command(SETTINGS, paths, "down") == [
        *(*head, "--file", str(paths.compose_instances)),
        *("--profile", "consoul", "down"),
    ]


def variables(given: dict[str, str], user_id: int = 1000, count: int = 1) -> dict[str, str]:
    return build_variables(given, PORTS, build_instances(PORTS, count), PATHS, user_id)


def test_compose_gets_the_ports_that_were_resolved_and_the_files_of_secrets() -> None:
    assert variables({"REDIS_PORT": "1", "HOME": "/home/x"}) == {
        "HOME": "/home/x",
        "CONSOUL_PORT": "18000",
        "CONSOUL_OBSERVABILITY_METRICS_PORT": "19090",
        "REDIS_PORT": "16379",
        "PROMETHEUS_PORT": "19091",
        "GRAFANA_PORT": "13000",
        "GRAFANA_ADMIN_PASSWORD_FILE": "/checkout/.lab/secrets/grafana-admin-password",
        "GRAFANA_UID": "1000",
        "MOCK_CONTROL_TOKEN_FILE": "/checkout/.lab/secrets/control-token",
        "CONSOUL_UID": "1000",
        "CONSOUL_TIER_KEYS": CONSOUL_DEFAULTS["CONSOUL_TIER_KEYS"],
        "CONSOUL_TIER_LIMITS": CONSOUL_DEFAULTS["CONSOUL_TIER_LIMITS"],
    }


def test_several_instances_are_published_on_a_port_each() -> None:
    several = variables({}, count=3)

    assert several["CONSOUL_PORT"] == "8100-8102"
    assert several["CONSOUL_OBSERVABILITY_METRICS_PORT"] == "9190-9192"


def test_the_persons_tiers_win_and_an_empty_value_does_not() -> None:
    given = variables({"CONSOUL_TIER_KEYS": '{"k":"t"}', "CONSOUL_TIER_LIMITS": ""})

    assert given["CONSOUL_TIER_KEYS"] == '{"k":"t"}'
    assert given["CONSOUL_TIER_LIMITS"] == CONSOUL_DEFAULTS["CONSOUL_TIER_LIMITS"]


def test_nothing_runs_as_root_because_the_lab_does() -> None:
    assert variables({}, user_id=0)["GRAFANA_UID"] == "472"
    assert variables({}, user_id=0)["CONSOUL_UID"] == "10001"


def test_files_are_made_for_several_instances_and_taken_away_for_one(tmp_path: Path) -> None:
    paths = LabPaths(tmp_path / "lab", Path("/tmp/lab"))
    prepare_files(SETTINGS, {}, paths, PORTS, 3)

    token = paths.control_token_file.read_text()
    assert len(token) > 30
    assert paths.control_token_file.stat().st_mode & 0o777 == 0o600
    assert paths.password_file.stat().st_mode & 0o777 == 0o600
    assert "server consoul:8000 " in paths.nginx_config.read_text()
    assert paths.compose_instances.exists()

    prepare_files(SETTINGS, {}, paths, PORTS, 1)
    assert paths.control_token_file.read_text() == token
    assert not paths.compose_instances.exists()


@pytest.mark.parametrize(
    ("service", "words"),
    [(None, []), ("redis", ["redis"]), ("consoul-2", ["--index", "2", "consoul"]), ("consoul", ["consoul"])],
)
def test_a_replica_is_named_as_its_instance(service: str | None, words: list[str]) -> None:
    assert build_logs_arguments(service) == words


def test_containers_serve_the_same_addresses_and_grafana() -> None:
    state = build_compose_state(SETTINGS, PORTS, 1, PATHS, {})
    links = dict(link for service in state.services for link in service.links)

    assert links == {
        "API": "http://127.0.0.1:18000",
        "docs": "http://127.0.0.1:18000/docs",
        "metrics": "http://127.0.0.1:19090/metrics",
        "Redis": "redis://127.0.0.1:16379",
        "Prometheus": "http://127.0.0.1:19091",
        "Grafana": "http://127.0.0.1:13000",
    }
