"""A mock with its control plane on, and the way to it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mock.conftest import Answer, Mock, StartMock, wait_until

TOKEN = "canary-token-0123456789abcdef"


@dataclass
class Controlled:
    """A mock and the way to its control plane."""

    mock: Mock

    def __call__(self, method: str, path: str, body: Any = None, token: str | None = TOKEN, **headers: str) -> Answer:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.mock.metrics_port}/_mock/{path}"
        started_s = time.monotonic()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data, headers, method=method), timeout=15
            ) as found:
                status, text, given = found.status, found.read(), dict(found.headers)
        except urllib.error.HTTPError as error:
            with error:
                status, text, given = error.code, error.read(), dict(error.headers)
        return Answer(
            status,
            json.loads(text),
            {name.lower(): value for name, value in given.items()},
            time.monotonic() - started_s,
        )

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("GET", "workers").body["workers"]
        return found

    def serving(self) -> dict[int, dict[str, Any]]:
        """Returns worker number → what it says, of those that serve."""
        return {entry["worker"]: entry for entry in self.workers() if entry["status"] == "serving"}


StartControlled = Callable[..., Controlled]


@pytest.fixture
def start_controlled(start_mock: StartMock, tmp_path: Path) -> StartControlled:
    def start(**variables: str) -> Controlled:
        token_file = tmp_path / "token"
        token_file.write_text(TOKEN + "\n")
        token_file.chmod(0o600)
        control = Controlled(
            start_mock(MOCK_CONTROL_ENABLED="true", MOCK_CONTROL_TOKEN_FILE=str(token_file), **variables)
        )
        workers = int(variables.get("CONSOUL_WORKERS", "1"))
        wait_until(lambda: len(control.serving()) == workers, "all workers take commands")
        return control

    return start
