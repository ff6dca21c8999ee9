"""Three Consoul instances behind nginx: one target to a run, one session store, one budget for each key."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import redis

from loadtests.exit_codes import ExitCode
from loadtests.run.fetch import fetch
from loadtests.run.scrape import parse_sample, scrape
from loadtests.stacks import CONSOUL, MetricSource
from tests.integration.ports import find_row_of_ports

from .conftest import Lab, Outcome, run_lab, wait_until

COUNT = 3
BUDGET = 50
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        how = "nginx is not installed; on Debian: apt-get install nginx"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    first = find_row_of_ports(2 * COUNT)
    with run_lab(
        tmp_path_factory.mktemp("instances"),
        INSTANCES=str(COUNT),
        INSTANCE_PORT=str(first),
        INSTANCE_METRICS_PORT=str(first + COUNT),
        PRESET="gc-frequent",
        # By the hour, so that nothing is given back while the test asks.
        CONSOUL_TIER_LIMITS=json.dumps({"basic": f"{BUDGET}/hour", "premium": "9/hour", "lab": "100000000/minute"}),
    ) as one:
        yield one


def metrics_urls(lab: Lab) -> list[str]:
    urls: list[str] = lab.state["services"]["consoul"]["metrics_urls"]
    return urls


def count(lab: Lab, sample: str, **labels: str) -> list[float]:
    """One counter as each instance gives it."""
    source = {"it": MetricSource(sample, {name: (value,) for name, value in labels.items()})}
    return [parse_sample(fetch(url)[1].decode(), source).get("it", 0.0) for url in metrics_urls(lab)]


def chat(url: str, session_id: str, key: str) -> int:
    body = json.dumps({"session_id": session_id, "message": "hello"}).encode()
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    try:
        with urlopen(Request(f"{url}/chat", body, headers)) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_a_run_against_three_instances_balances_to_the_last_request(
    lab: Lab, finish_soundly: Callable[..., Outcome]
) -> None:
    before = count(lab, "consoul_request_total", endpoint="/chat")
    outcome = finish_soundly({"stages": [{"name": "hold", "duration": "20s", "users": 8}]}, TIME_SCALE="0.2")
    after = count(lab, "consoul_request_total", endpoint="/chat")

    result: dict[str, Any] = outcome.result
    assert result["reconciliation"]["unexplained"] == 0
    assert result["reconciliation"]["counted"] == sum(row["finished"] for row in result["ledger"] if not row["stage"])
    grown = [now - then for now, then in zip(after, before, strict=True)]
    assert sum(grown) >= result["reconciliation"]["counted"] > 100
    # Taken in turn: none had more than twice its part.
    assert min(grown) > sum(grown) / (2 * COUNT)
    assert result["target"]["facts"]["lab instances"] == str(COUNT)
    assert result["target"]["facts"]["lab preset"] == "gc-frequent"
    # That a machine which does something else beside is told so is tested elsewhere.
    assert {check["name"] for check in result["watchdog"]["checks"] if check["outcome"] == "broken"} <= {"timing"}
    assert {row["outcome"] for row in result["thresholds"]} == {"pass"}
    assert outcome.code in (ExitCode.PASS, ExitCode.INVALID), outcome.out


def test_a_session_goes_on_at_any_instance(lab: Lab) -> None:
    before = sum(count(lab, "consoul_sessions_created_total"))
    instances = [url.replace("/metrics", "") for url in metrics_urls(lab)]
    apis = [f"http://127.0.0.1:{int(url.rpartition(':')[2]) - COUNT}" for url in instances]

    assert [chat(api, "load-test-3-17", "load-lab") for api in (*apis, *apis)] == [200] * 2 * COUNT

    with redis.Redis.from_url(f"{lab.state['redis_url']}/0") as client:
        stored = json.loads(client.get("consoul:session:load-test-3-17"))
        sessions = len(list(client.scan_iter("consoul:session:*", _type="string")))
    assert len(stored["messages"]) == 2 * 2 * COUNT
    assert sum(count(lab, "consoul_sessions_created_total")) - before == 1
    # Each instance counts the sessions of the one Redis: theirs are not added up.
    alike = [float(sessions)] * COUNT
    wait_until(lambda: count(lab, "consoul_active_sessions") == alike, f"{sessions} active sessions at each")
    assert scrape(metrics_urls(lab), CONSOUL.metrics)["active_sessions"] == sessions


def test_a_limit_admits_exactly_its_budget_over_all_instances_together(lab: Lab) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda n: chat(lab.url, f"load-test-9-{n}", "basic-key"), range(2 * BUDGET)))

    assert statuses.count(200) == BUDGET
    assert statuses.count(429) == BUDGET
    admitted = count(lab, "consoul_rate_limit_decisions_total", tier="basic", decision="allowed")
    assert sum(admitted) == BUDGET
    assert all(admitted), "each instance had a part of it"
