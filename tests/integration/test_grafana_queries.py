"""Every query of every panel returns data from a real Prometheus that scrapes a real mock under load."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from mock_server.lab.environment import CONSOUL_DEFAULTS

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
DEADLINE_S = 45.0
# Grafana's $__rate_interval for a scrape interval of 1 s, as this test sets it.
RATE_INTERVAL = "4s"

QUERIES = [
    pytest.param(target["expr"], id=f"{path.stem}: {panel['title']} {target['refId']}")
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
    for panel in json.loads(path.read_text("utf-8"))["panels"]
    for target in panel.get("targets", [])
]


def _find_program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH; on Debian: apt-get install {name}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait(until: Callable[[], Any], what: str) -> Any:
    """The first true value of `until`; polls to the deadline."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        try:
            value = until()
        except (OSError, http.client.HTTPException):
            value = None
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {DEADLINE_S:g} s")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return bytes(answer.read())


def _send_requests(port: int, count: int) -> int:
    """Chats with sample keys, asks for health, gets some answers that are errors on purpose; returns `count`."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    for number in range(count):
        body = json.dumps({"session_id": f"load-test-{number % 7}", "message": "hello"})
        key = "load-lab" if number % 2 else "premium-key"
        headers = {"Content-Type": "application/json", "X-API-Key": key}
        connection.request("POST", "/chat", body if number % 10 else "{}", headers)
        connection.getresponse().read()
        if number % 5 == 0:
            connection.request("POST", "/chat/stream", json.dumps({"session_id": "s", "message": "hello"}), headers)
            connection.getresponse().read()
        if number % 20 == 0:
            connection.request("GET", "/health")
            connection.getresponse().read()
    connection.close()
    return count


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus beside a mock with real Redis that is asked steadily while the queries run."""
    redis_program, prometheus_program = _find_program("redis-server"), _find_program("prometheus")
    folder = tmp_path_factory.mktemp("observed")
    redis, api, metrics, prometheus = (_free_port() for _ in range(4))
    configuration = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    configuration["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(ROOT / "prometheus" / "rules" / "*.yml")]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [f"{HOST}:{metrics}"]}]
    configuration["scrape_configs"] = configuration["scrape_configs"][:1]
    (folder / "token").write_text("a-token-of-this-test-only")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CONSOUL_", "MOCK_"))},
        **CONSOUL_DEFAULTS,
        "MOCK_CONTROL_TOKEN_FILE": str(folder / "token"),
        "CONSOUL_PORT": str(api),
        "CONSOUL_OBSERVABILITY_METRICS_PORT": str(metrics),
        "CONSOUL_SESSION_REDIS_URL": f"redis://{HOST}:{redis}/0",
        "CONSOUL_RATE_LIMIT_REDIS_URL": f"redis://{HOST}:{redis}/1",
    }
    with ExitStack() as stack:

        def start(name: str, *command: str) -> None:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        start("redis", redis_program, "--port", str(redis), "--bind", HOST, "--save", "", "--dir", str(folder))
        start("consoul", sys.executable, "-m", "mock_server", "consoul")
        start(
            "prometheus",
            *(prometheus_program, f"--config.file={folder / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={HOST}:{prometheus}"),
        )
        url = f"http://{HOST}:{prometheus}"
        _wait(lambda: _get(f"http://{HOST}:{api}/ready"), "the mock is ready")
        _wait(lambda: _get(f"{url}/-/ready"), "Prometheus is ready")
        # Rates need traffic between two scrapes, and the gauges of a worker need two of them.
        _wait(lambda: _send_requests(api, 50) and _has_rates(url), "Prometheus knows a rate of requests")
        _send_requests(api, 300)
        yield url


def _query(url: str, expression: str) -> list[Any]:
    encoded = urllib.parse.urlencode({"query": expression})
    answer = json.loads(_get(f"{url}/api/v1/query?{encoded}"))
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


def _has_rates(url: str) -> bool:
    return bool(_query(url, "sum(rate(consoul_request_total[4s])) > 0"))


@pytest.mark.parametrize("expression", QUERIES)
def test_every_panel_query_returns_data(prometheus_url: str, expression: str) -> None:
    # Over the last minute: what counts is that the panel draws something, not that it is drawing now.
    covering = f"last_over_time(({expression.replace('$__rate_interval', RATE_INTERVAL)})[1m:1s])"

    series = _wait(lambda: _query(prometheus_url, covering), f"data for {expression}")

    assert any(sample["value"][1] != "NaN" for sample in series)


@pytest.mark.parametrize("name", ["HighLatency", "RedisUnavailable", "CircuitBreakerOpen", "SlowClients"])
def test_prometheus_loaded_the_alerts_and_none_is_active_on_a_healthy_lab(prometheus_url: str, name: str) -> None:
    answer = json.loads(_get(f"{prometheus_url}/api/v1/rules?type=alert"))
    (rule,) = (rule for group in answer["data"]["groups"] for rule in group["rules"] if rule["name"] == name)

    assert rule["health"] in {"ok", "unknown"}
    assert rule["state"] == "inactive"


def test_recorded_series_appear(prometheus_url: str) -> None:
    _wait(
        lambda: _query(prometheus_url, "last_over_time(service:consoul_request_latency_seconds:p99_5m[1m])"),
        "the recorded percentile",
    )
