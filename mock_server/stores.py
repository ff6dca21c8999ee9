"""Where a mock keeps its state, as its settings say: in Redis, in memory, or in memory while Redis is away."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from mock_server.settings import Settings
from mock_server.state.address import parse_address
from mock_server.state.coalescer import Coalescer
from mock_server.state.fallback_limiter import FallbackLimiter
from mock_server.state.fallback_sessions import FallbackSessions
from mock_server.state.journal import Journal
from mock_server.state.limiter import Limiter, MemoryLimiter, RedisLimiter
from mock_server.state.memory_sessions import MemorySessions
from mock_server.state.redis_sessions import RedisSessions
from mock_server.state.sessions import SessionStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores, and the clients they use: None for memory, and one client serves both uses of one database."""

    sessions: SessionStore
    limiter: Limiter
    session_client: Coalescer | None
    limit_client: Coalescer | None

    def clients(self) -> list[Coalescer]:
        """Returns each client once."""
        return list(
            dict.fromkeys(client for client in (self.session_client, self.limit_client) if client is not None)
        )


def create_stores(settings: Settings, monotonic_s: Callable[[], float], on_created: Callable[[], None]) -> Stores:
    """Returns the stores; `on_created` is told of sessions that memory began and Redis did not have."""
    session_client = _create_client(settings.session_redis_url, settings, settings.session_key_prefix)
    if settings.rate_limit_redis_url == settings.session_redis_url:
        limit_client = session_client
    else:
        limit_client = _create_client(settings.rate_limit_redis_url, settings, settings.rate_limit_key_prefix)
    if session_client is not None and limit_client is not None and _is_one_server(session_client, limit_client):
        # What the one finds out spares the other its own time-out: a request asks both, one after the other.
        limit_client.outage = session_client.outage
    return Stores(
        _create_sessions(settings, session_client, monotonic_s, on_created),
        _create_limiter(settings, limit_client, monotonic_s),
        session_client,
        limit_client,
    )


def _create_client(url: SecretStr | None, settings: Settings, key_prefix: str) -> Coalescer | None:
    if url is None:
        return None
    return Coalescer(
        parse_address(url.get_secret_value()),
        settings.redis_max_connections,
        probe_key=key_prefix.removesuffix(":") + ":{probe}",
    )


def _is_one_server(one: Coalescer, other: Coalescer) -> bool:
    """Returns whether two clients ask the same server in the same name, of whatever database."""
    return dataclasses.replace(one.address, database=0) == dataclasses.replace(other.address, database=0)


def _create_sessions(
    settings: Settings, client: Coalescer | None, monotonic_s: Callable[[], float], on_created: Callable[[], None]
) -> SessionStore:
    ttl_s, max_messages = settings.session_ttl_s, settings.max_history_messages
    if client is None:
        return MemorySessions(monotonic_s, ttl_s, max_messages)
    sessions = RedisSessions(client, settings.session_key_prefix, ttl_s, max_messages)
    if not settings.redis_fallback_enabled:
        return sessions
    journal = Journal(ttl_s, max_messages)
    return FallbackSessions(sessions, journal, client.outage, monotonic_s, max_messages, on_created)


def _create_limiter(settings: Settings, client: Coalescer | None, monotonic_s: Callable[[], float]) -> Limiter:
    memory = MemoryLimiter(monotonic_s)
    if client is None:
        return memory
    limiter = RedisLimiter(client, settings.rate_limit_key_prefix)
    if not settings.redis_fallback_enabled:
        return limiter
    return FallbackLimiter(limiter, memory, client.outage, settings.workers)
