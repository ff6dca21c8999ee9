"""A mock in this process and event loop, called as the server calls it, whose provider and clocks obey the test."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from mock_server.app import create_app
from mock_server.core.clock import Clock
from mock_server.environment import load_settings

# A provider that takes its time, so that every call passes through the sleep the test is in charge of.
_VARIABLES = {
    "MOCK_PROVIDER_PROFILE": "custom",
    "MOCK_PROVIDER_CUSTOM": '{"total_s":[1,1],"first_token_share":0.5,"tokens":[2,2]}',
    "CONSOUL_RATE_LIMIT_ENABLED": "false",
    "CONSOUL_LIMIT_CONCURRENCY": "100000",
    "HTTPX_MAX_CONNECTIONS": "10000",
}


@dataclass(frozen=True)
class Answer:
    """What one request got."""

    status: int
    body: dict[str, Any]
    headers: dict[bytes, bytes]


async def succeed() -> None:
    """Lets a call to the provider through at once."""


class InProcess:
    """`provider` runs inside each call to the simulated provider: it may return, raise, or wait."""

    def __init__(self, **variables: str):
        self.monotonic_s = self.wall_s = 1_000.0
        self.provider: Callable[[], Awaitable[None]] = succeed
        self.registry = CollectorRegistry()
        clock = Clock(lambda: self.monotonic_s, lambda: self.wall_s)
        settings = load_settings(_VARIABLES | variables)
        self.app = create_app("consoul", settings, clock, self.registry, sleep_until=self._sleep_until)
        self._state: dict[str, Any] = {}

    async def _sleep_until(self, moment_s: float) -> None:
        await self.provider()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["InProcess"]:
        """Runs the application's lifespan around the block."""
        to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        from_app: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}

        async def run() -> None:
            await self.app(scope, to_app.get, from_app.put)

        running = asyncio.create_task(run())
        for kind in ("startup", "shutdown"):
            await to_app.put({"type": f"lifespan.{kind}"})
            assert (await from_app.get())["type"] == f"lifespan.{kind}.complete"
            if kind == "startup":
                try:
                    yield self
                except BaseException:
                    running.cancel()
                    raise
        await running

    async def chat(self, session_id: str, model: str = "gpt-4") -> Answer:
        """Takes one turn."""
        body = json.dumps({"session_id": session_id, "message": "hello", "model": model}).encode()
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": "/chat", "raw_path": b"/chat",
            "query_string": b"", "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80), "scheme": "http", "root_path": "", "state": dict(self._state),
        }  # fmt: skip
        await self.app(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(sent[0]["status"], json.loads(answer), dict(sent[0]["headers"]))

    def sample(self, name: str, **labels: str) -> float:
        """Returns a metric's value."""
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, f"no sample {name}{labels}"
        return value
