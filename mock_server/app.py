"""The one place where the parts of a mock are wired; reads no environment."""

import itertools
import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.responses import HTMLResponse
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request

from mock_server.asgi import App
from mock_server.control.worker import Commands, ControlSocket, Parts
from mock_server.core.breaker import BreakerConfig, BreakerState, CircuitBreaker
from mock_server.core.clock import Clock
from mock_server.core.draining import Draining
from mock_server.core.ledger import Ledger
from mock_server.core.models import PROVIDERS
from mock_server.core.randomness import create_stream
from mock_server.errors import MethodNotAllowedError, NotFoundError, OtherClientError
from mock_server.lifespan import Background, Sampler, create_lifespan
from mock_server.metrics import Metrics, StorageMetrics
from mock_server.middleware.admission import Admission
from mock_server.middleware.body_limit import BodyLimit
from mock_server.middleware.draining import DrainingGate
from mock_server.middleware.error_boundary import ErrorBoundary
from mock_server.middleware.hot_routes import HotRoutes
from mock_server.middleware.measured import Measured
from mock_server.middleware.refusals import Refusals
from mock_server.middleware.request_id import RequestId
from mock_server.reconnection import Reconnector
from mock_server.runtime import Runtime
from mock_server.services.consoul.batch import PATH as BATCH_PATH
from mock_server.services.consoul.batch import BatchEndpoint
from mock_server.services.consoul.chat import PATH as CHAT_PATH
from mock_server.services.consoul.chat import ChatEndpoint
from mock_server.services.consoul.connections import Connections
from mock_server.services.consoul.conversation import Conversation
from mock_server.services.consoul.docs import build_page
from mock_server.services.consoul.guard import DEFAULT_TIER, Guard
from mock_server.services.consoul.metronome import Metronome, SleepUntil
from mock_server.services.consoul.pool import ProviderPool
from mock_server.services.consoul.probes import Probes
from mock_server.services.consoul.provider import SimulatedProvider, Surroundings
from mock_server.services.consoul.providers import Providers, initial_config
from mock_server.services.consoul.router import add_routes
from mock_server.services.consoul.stream import PATH as STREAM_PATH
from mock_server.services.consoul.stream import StreamEndpoint
from mock_server.services.consoul.websocket import WebSocketEndpoint, websocket_config
from mock_server.settings import Settings
from mock_server.state.collection import SessionCollector
from mock_server.state.fallback_limiter import FallbackLimiter
from mock_server.state.fallback_sessions import FallbackSessions
from mock_server.stores import Stores, create_stores

VERSION = "0.1.0"


class Api(FastAPI):
    """FastAPI without the layers that `_surround` replaces: it would answer exceptions before our error boundary."""

    def build_middleware_stack(self) -> Any:
        return ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=self.exception_handlers)


def create_app(
    service: str,
    settings: Settings,
    clock: Clock,
    registry: CollectorRegistry,
    worker: int = 0,
    sleep_until: SleepUntil | None = None,
    control_folder: Path | None = None,
) -> App:
    """Returns the ASGI application of one worker of `service`, which so far is `consoul`.

    `worker` numbers the workers of one mock, so that each draws from streams of its own. `sleep_until` waits for a
    moment of the clock; None is the event loop's own way. With the control plane enabled it keeps a ledger, and takes
    commands in `control_folder`, the folder it shares with its parent.
    """
    if service != "consoul":
        raise ValueError(f"{service!r} is not a service of this version; there is 'consoul'")
    metrics = Metrics(registry, sorted({DEFAULT_TIER, *settings.tier_limits}))
    stores = create_stores(settings, clock.monotonic_s, metrics.state.sessions_created.inc)
    pool = ProviderPool(settings.provider_max_connections)
    ledger = Ledger(settings.ledger_size) if settings.control_enabled else None
    surroundings = Surroundings(
        pool, clock, sleep_until or Metronome(clock.monotonic_s).sleep_until, settings.workers, ledger
    )
    simulated = {name: _create_provider(name, settings, surroundings, worker) for name in PROVIDERS}
    breakers = _create_breakers(settings, clock, metrics) if settings.circuit_breaker_enabled else None
    conversation = Conversation(stores.sessions, simulated, breakers, metrics, clock)
    guard = Guard(settings, stores.limiter, metrics.state.decisions)
    connections = Connections()
    chat, batch, stream = _create_endpoints(settings, clock, guard, conversation, connections, metrics)
    websocket = WebSocketEndpoint(guard, conversation, metrics, connections, clock, websocket_config(settings))
    checks = {"session_store": stores.session_client, "rate_limiter": stores.limit_client}
    probes = Probes(VERSION, checks, settings.redis_fallback_enabled, connections, clock)
    pools = {
        "provider": lambda: (pool.in_use, pool.maximum),
        **{
            name: lambda client=client: (client.in_flight, client.max_in_flight)  # type: ignore[misc]
            for name, client in (("redis_sessions", stores.session_client), ("redis_limits", stores.limit_client))
            if client is not None
        },
    }
    sampler = Sampler(stores.sessions, pools, metrics.state)
    reconnector = _create_reconnector(stores, settings, metrics.storage)
    draining = Draining()
    runtime = Runtime(metrics.runtime, clock.monotonic_s, settings.gc_debug)
    control = None
    if control_folder is not None and ledger is not None:
        parts = Parts(Providers(simulated), breakers or {}, ledger, connections)
        control = ControlSocket(Commands(parts, worker, clock.monotonic_s), control_folder)
    api = Api(
        title="Consoul mock",
        version=VERSION,
        lifespan=create_lifespan(
            sampler,
            reconnector,
            stores.clients(),
            settings.thread_pool_size,
            draining,
            [runtime.run, *_create_collection(stores, settings, clock, metrics)],
            control,
        ),
        redirect_slashes=False,
        # Those of the framework load their parts from elsewhere.
        docs_url=None,
        redoc_url=None,
        exception_handlers={HTTPException: _translate},
    )
    add_routes(api.router, chat, batch, stream, probes, has_keys=bool(settings.api_key_digests))
    api.add_api_route("/docs", lambda: HTMLResponse(build_page(api.openapi())), include_in_schema=False)
    return _surround(
        HotRoutes(
            Refusals(api),
            {("POST", CHAT_PATH): chat, ("POST", BATCH_PATH): batch, ("POST", STREAM_PATH): stream},
            websocket,
        ),
        settings,
        clock,
        metrics,
        draining,
        create_stream(settings.seed, "request-ids", worker),
    )


def _create_endpoints(
    settings: Settings,
    clock: Clock,
    guard: Guard,
    conversation: Conversation,
    connections: Connections,
    metrics: Metrics,
) -> tuple[ChatEndpoint, BatchEndpoint, StreamEndpoint]:
    max_body_bytes = settings.max_body_size_bytes
    return (
        ChatEndpoint(guard, conversation, max_body_bytes),
        BatchEndpoint(guard, conversation, max_body_bytes, lambda: f"batch-{uuid.uuid4().hex}", clock.wall_s),
        StreamEndpoint(
            guard,
            conversation,
            connections,
            metrics.streams.slow_disconnects["send_timeout"],
            max_body_bytes,
            settings.ws_send_timeout_s,
            clock.wall_s,
        ),
    )


def _surround(
    api: App, settings: Settings, clock: Clock, metrics: Metrics, draining: Draining, rng: random.Random
) -> App:
    """Returns the application inside its middleware, the outermost last."""
    app: App = BodyLimit(api, settings.max_body_size_bytes)
    app = Admission(app, settings.limit_concurrency)
    app = DrainingGate(app, draining)
    app = ErrorBoundary(app, clock.wall_s)
    app = RequestId(app, _create_id_maker(rng))
    return Measured(app, metrics.requests, clock.monotonic_s)


def _create_id_maker(rng: random.Random) -> Callable[[], bytes]:
    beginning = f"{rng.getrandbits(48):012x}-".encode()
    numbers = itertools.count(1)
    return lambda: beginning + b"%x" % next(numbers)


def _create_collection(stores: Stores, settings: Settings, clock: Clock, metrics: Metrics) -> list[Background]:
    """Returns the collection of dead sessions; memory needs none, since it forgets by itself."""
    if stores.session_client is None:
        return []
    collector = SessionCollector(
        stores.session_client,
        settings.session_key_prefix,
        settings.session_ttl_s,
        settings.session_gc_interval_s,
        settings.session_gc_batch_size,
        clock,
        metrics.storage,
        spared=settings.rate_limit_key_prefix if stores.limit_client is stores.session_client else "",
    )
    return [collector.run]


def _create_reconnector(stores: Stores, settings: Settings, metrics: StorageMetrics) -> Reconnector:
    return Reconnector(
        stores.clients(),
        stores.sessions if isinstance(stores.sessions, FallbackSessions) else None,
        stores.limiter if isinstance(stores.limiter, FallbackLimiter) else None,
        settings.redis_reconnect_interval_s,
        metrics,
    )


def _create_provider(name: str, settings: Settings, surroundings: Surroundings, worker: int) -> SimulatedProvider:
    latencies = create_stream(settings.seed, "latency", name, worker)
    faults = create_stream(settings.seed, "faults", name, worker)
    return SimulatedProvider(name, initial_config(name, settings), surroundings, latencies, faults)


def _create_breakers(settings: Settings, clock: Clock, metrics: Metrics) -> dict[str, CircuitBreaker]:
    longest_s = max(settings.openai_timeout_s, settings.anthropic_timeout_s)
    config = BreakerConfig(
        settings.circuit_breaker_failure_threshold,
        settings.circuit_breaker_success_threshold,
        settings.circuit_breaker_timeout_s,
        settings.circuit_breaker_half_open_max_calls,
        probe_timeout_s=2 * longest_s,
    )

    def observer(provider: str) -> Callable[[BreakerState, BreakerState], None]:
        return lambda _, to: metrics.providers.record_transition(provider, to)

    return {name: CircuitBreaker(config, clock.monotonic_s, observer(name)) for name in PROVIDERS}


async def _translate(request: Request, error: Exception) -> Any:
    """Turns the framework's own refusals into ours; the error boundary answers them."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        raise NotFoundError
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        raise MethodNotAllowedError(headers=[(b"allow", allow.encode("ascii"))])
    raise OtherClientError(error.status_code, str(error.detail))
