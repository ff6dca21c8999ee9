"""A mock whose Redis is away is alive but not ready: no load is sent, and the message says what is missing."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from .conftest import ROOT, Run, free_port, wait_until


@pytest.fixture
def mock_without_redis() -> Iterator[str]:
    port, redis_url = free_port(), f"redis://127.0.0.1:{free_port()}"
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("CONSOUL_", "MOCK_", "REDIS"))},
        "CONSOUL_PORT": str(port),
        "CONSOUL_OBSERVABILITY_METRICS_PORT": str(free_port()),
        "CONSOUL_SESSION_REDIS_URL": f"{redis_url}/0",
        "CONSOUL_RATE_LIMIT_REDIS_URL": f"{redis_url}/1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mock_server", "consoul"], cwd=ROOT, env=environ, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _is_alive(url), "a mock without Redis")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _is_alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_no_load_is_sent_while_redis_is_away(start_run: Callable[..., Run], mock_without_redis: str) -> None:
    outcome = start_run(None, TARGET=mock_without_redis).finish()

    assert outcome.code == 3, outcome.out + outcome.err
    assert "not_ready" in outcome.err
    assert "session_store" in outcome.err
    assert not list(outcome.results.glob("*-consoul-*"))
