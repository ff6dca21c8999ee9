"""The lab in containers: when it is chosen, and the command lines it hands over."""

from pathlib import Path
from typing import get_args

import pytest

from mock_server.lab.compose import (
    build_command,
    build_compose_state,
    build_variables,
    choose_mode,
    make_password_file,
)
from mock_server.lab.settings import Mode, Ports

PORTS = Ports(18000, 19090, 16379, 19091, grafana=13000)


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


def test_the_command_line_names_file_and_stack() -> None:
    assert build_command(Path("/checkout"), "consoul", "up", "--detach", "--wait") == [
        *("docker", "compose", "--file", "/checkout/docker-compose.yml", "--profile", "consoul"),
        *("up", "--detach", "--wait"),
    ]


def test_compose_gets_the_ports_that_were_resolved() -> None:
    variables = build_variables({"REDIS_PORT": "1", "HOME": "/home/x"}, PORTS, Path("/lab/password"), 1000)

    assert variables == {
        "HOME": "/home/x",
        "CONSOUL_PORT": "18000",
        "CONSOUL_OBSERVABILITY_METRICS_PORT": "19090",
        "REDIS_PORT": "16379",
        "PROMETHEUS_PORT": "19091",
        "GRAFANA_PORT": "13000",
        "GRAFANA_ADMIN_PASSWORD_FILE": "/lab/password",
        "GRAFANA_UID": "1000",
    }


def test_grafana_does_not_run_as_root_because_the_lab_does() -> None:
    assert build_variables({}, PORTS, Path("/lab/password"), 0)["GRAFANA_UID"] == "472"


def test_the_password_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "password"

    make_password_file(path, 1000, "first")
    make_password_file(path, 1000, "second")

    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o400


def test_containers_serve_the_same_addresses_and_grafana() -> None:
    links = dict(link for service in build_compose_state("consoul", PORTS).services for link in service.links)

    assert links == {
        "API": "http://127.0.0.1:18000",
        "docs": "http://127.0.0.1:18000/docs",
        "metrics": "http://127.0.0.1:19090/metrics",
        "Redis": "redis://127.0.0.1:16379",
        "Prometheus": "http://127.0.0.1:19091",
        "Grafana": "http://127.0.0.1:13000",
    }
