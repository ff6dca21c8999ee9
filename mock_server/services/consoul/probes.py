"""`GET /health` and `GET /ready`: whether the process lives, and whether it would serve."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from fastapi import Request
from fastapi.responses import JSONResponse

from mock_server.core.clock import Clock
from mock_server.errors import format_time
from mock_server.services.consoul.connections import Connections

# What `message` says of each outcome of a check that is worth a word, the worst first.
_TEXTS = {
    "draining": "The server was told to stop.",
    "unavailable": "Redis does not answer, and CONSOUL_REDIS_FALLBACK_ENABLED is off.",
    "degraded": "Redis does not answer; memory stands in for it, in each worker apart, until it is back.",
}


class Backend(Protocol):
    """Something a check can ask whether it answers."""

    async def is_reachable(self) -> bool:
        """Returns within a fraction of a second."""


class Probes:
    """`checks` maps a check's name to its backend; None is memory, which is always there.

    With `has_fallback` a backend that does not answer makes the mock degraded, and still ready.
    """

    def __init__(
        self,
        version: str,
        checks: Mapping[str, Backend | None],
        has_fallback: bool,
        connections: Connections,
        clock: Clock,
    ):
        self._version = version
        self._checks = checks
        self._has_fallback = has_fallback
        self._connections = connections
        self._clock = clock

    async def health(self) -> JSONResponse:
        """Says that the process lives; asks nothing of Redis."""
        return JSONResponse(
            {
                "status": "healthy",
                "service": "consoul",
                "version": self._version,
                "timestamp": format_time(self._clock.wall_s()),
                "connections": self._connections.total,
            }
        )

    async def ready(self, request: Request) -> JSONResponse:
        """Says whether a request would be served now: 200 ready, 503 not_ready with the check that says so."""
        names = list(self._checks)
        outcomes = await asyncio.gather(*(self._check(self._checks[name]) for name in names))
        checks = dict(zip(names, outcomes, strict=True))
        # A worker that is being replaced says nothing of it: the mock serves on.
        if request.state.draining.phase == "stop":
            checks["process"] = "draining"
        message = next((text for outcome, text in _TEXTS.items() if outcome in checks.values()), None)
        is_ready = message in (None, _TEXTS["degraded"])
        body = {
            "status": "ready" if is_ready else "not_ready",
            "checks": checks,
            **({"message": message} if message is not None else {}),
            "timestamp": format_time(self._clock.wall_s()),
        }
        return JSONResponse(
            body, status_code=200 if is_ready else 503, headers={} if is_ready else {"Retry-After": "1"}
        )

    async def _check(self, backend: Backend | None) -> str:
        if backend is None:
            return "memory"
        if await backend.is_reachable():
            return "redis"
        return "degraded" if self._has_fallback else "unavailable"
