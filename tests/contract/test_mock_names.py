"""Names others rely on: metrics with their labels, histogram bounds, variables."""

import pytest
from prometheus_client import CollectorRegistry

from mock_server.metrics import BUCKETS_S, Metrics
from mock_server.settings import VARIABLES

METRICS = {
    "consoul_request": {"endpoint", "method", "status"},
    "consoul_request_latency_seconds": {"endpoint", "method"},
    "consoul_errors": {"endpoint", "error_type"},
    "consoul_active_sessions": set(),
    "consoul_requests_in_flight": set(),
    "consoul_token_usage": {"direction", "model"},
    "consoul_circuit_breaker_state": {"provider"},
    "consoul_circuit_breaker_trips": {"provider"},
    "consoul_circuit_breaker_rejections": {"provider"},
    "consoul_rate_limit_decisions": {"tier", "decision"},
    "consoul_provider_latency_seconds": {"provider"},
    "consoul_overhead_seconds": {"endpoint"},
    "consoul_sessions_created": set(),
    "consoul_pool_connections_in_use": {"pool"},
    "consoul_pool_connections_max": {"pool"},
    "consoul_redis_degraded": set(),
    "consoul_redis_recovered": set(),
    "consoul_redis_sessions_at_risk": set(),
    "consoul_session_gc_deleted": set(),
    "consoul_session_gc_duration_seconds": set(),
    "consoul_time_to_first_token_seconds": {"transport"},
    "consoul_inter_token_latency_seconds": {"transport"},
    "consoul_slow_client_disconnects": {"reason"},
    "consoul_websocket_connections": set(),
    "consoul_gc_pause_seconds": {"generation"},
    "consoul_event_loop_tasks": set(),
}
VARIABLE_NAMES = [
    "CONSOUL_HOST",
    "CONSOUL_PORT",
    "CONSOUL_WORKERS",
    "CONSOUL_API_KEYS",
    "CONSOUL_API_KEY",
    "CONSOUL_SESSION_REDIS_URL",
    "CONSOUL_RATE_LIMIT_REDIS_URL",
    "REDIS_URL",
    "CONSOUL_REDIS_MAX_CONNECTIONS",
    "CONSOUL_REDIS_FALLBACK_ENABLED",
    "CONSOUL_REDIS_RECONNECT_INTERVAL",
    "CONSOUL_SESSION_TTL",
    "CONSOUL_SESSION_KEY_PREFIX",
    "CONSOUL_SESSION_GC_INTERVAL",
    "CONSOUL_SESSION_GC_BATCH_SIZE",
    "CONSOUL_MAX_HISTORY_MESSAGES",
    "CONSOUL_RATE_LIMIT_ENABLED",
    "CONSOUL_ENABLED",
    "CONSOUL_DEFAULT_LIMITS",
    "CONSOUL_TIER_KEYS",
    "CONSOUL_TIER_LIMITS",
    "CONSOUL_RATE_LIMIT_KEY_PREFIX",
    "CONSOUL_KEY_PREFIX",
    "CONSOUL_CIRCUIT_BREAKER_ENABLED",
    "CONSOUL_CIRCUIT_BREAKER_FAILURE_THRESHOLD",
    "CONSOUL_CIRCUIT_BREAKER_SUCCESS_THRESHOLD",
    "CONSOUL_CIRCUIT_BREAKER_TIMEOUT",
    "CONSOUL_CIRCUIT_BREAKER_HALF_OPEN_MAX_CALLS",
    "CONSOUL_MAX_BODY_SIZE",
    "CONSOUL_WS_SEND_TIMEOUT",
    "CONSOUL_WS_MAX_BUFFER",
    "CONSOUL_MAX_WEBSOCKET_CONNECTIONS",
    "CONSOUL_WEBSOCKET_IDLE_TIMEOUT",
    "CONSOUL_WS_TIMEOUT",
    "CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED",
    "CONSOUL_OBSERVABILITY_METRICS_PORT",
    "HTTPX_MAX_CONNECTIONS",
    "OPENAI_TIMEOUT",
    "ANTHROPIC_TIMEOUT",
    "PYTHONGC_DEBUG",
    "CONSOUL_LIMIT_CONCURRENCY",
    "CONSOUL_TIMEOUT_KEEP_ALIVE",
    "CONSOUL_BACKLOG",
    "CONSOUL_ACCESS_LOG",
    "CONSOUL_LOG_LEVEL",
    "CONSOUL_THREAD_POOL_SIZE",
    "MOCK_PROVIDER_PROFILE",
    "MOCK_SEED",
    "MOCK_CONTROL_ENABLED",
    "MOCK_CONTROL_TOKEN_FILE",
    "MOCK_LEDGER_SIZE",
    "MOCK_PROVIDER_CUSTOM",
    "MOCK_PROVIDER_FAILURE_RATIO",
    "MOCK_PROVIDER_FAILURE_KIND",
    "MOCK_PROVIDER_CAPACITY",
    "MOCK_PROVIDER_BATCH_SIZE",
    "MOCK_FAST_RECONNECT",
]


@pytest.fixture(scope="module")
def families() -> dict[str, set[str]]:
    registry = CollectorRegistry()
    Metrics(registry, ["default"])
    return {
        family.name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for family in registry.collect()
    }


def test_metrics_of_the_mock_are_exactly_these_and_have_samples_from_the_start(families: dict[str, set[str]]) -> None:
    assert families == METRICS


def test_no_label_can_hold_an_id(families: dict[str, set[str]]) -> None:
    assert not {label for labels in families.values() for label in labels if "id" in label.split("_")}


def test_every_threshold_of_the_profiles_is_an_exact_bound() -> None:
    wanted = {
        0.001,
        0.0025,
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.5,
        0.75,
        0.9,
        1,
        1.2,
        1.5,
        2,
        2.5,
        3,
        4,
        5,
    }
    assert wanted | {10, 30, 60} == set(BUCKETS_S)
    assert list(BUCKETS_S) == sorted(BUCKETS_S)


@pytest.mark.parametrize("name", VARIABLE_NAMES)
def test_variable_is_known(name: str) -> None:
    assert name in VARIABLES
