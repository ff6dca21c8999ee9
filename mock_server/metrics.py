"""Every metric of the mock, its children looked up once. Names and labels are the contract's; no label is an id."""

from bisect import bisect_left
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mock_server.core.breaker import BreakerState
from mock_server.core.models import CARDS, OTHER_MODEL, PROVIDERS

# Every threshold used in a load profile is an exact bound.
BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 0.75,
    0.9, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
# Gaps between tokens and garbage collections are shorter than requests.
SHORT_BUCKETS_S = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5,
    1.0, 5.0,
)  # fmt: skip
# A message on a WebSocket counts as a request of this method.
WEBSOCKET_MESSAGE = "WS"
WEBSOCKET_ENDPOINT = "/ws/chat/{session_id}"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", WEBSOCKET_MESSAGE})
ERROR_TYPES = ("client_error", "server_error", "rate_limited", "circuit_open", "injected", "unhandled_exception")
TRANSPORTS = ("http", "batch", "sse", "websocket")
STREAMING_TRANSPORTS = ("sse", "websocket")
SLOW_REASONS = ("send_timeout", "buffer_full")
UNMATCHED = "unmatched"
POOLS = ("redis_sessions", "redis_limits", "provider")


Increment = Callable[[float], None]


class Observer:
    """One child of a histogram, without the library's checks of labels and its search through the bounds in turn."""

    __slots__ = ("_add", "_bounds", "_buckets")

    def __init__(self, histogram: Histogram):
        self._bounds = tuple(histogram._upper_bounds)
        self._buckets: list[Increment] = [bucket.inc for bucket in histogram._buckets]
        self._add: Increment = histogram._sum.inc

    def observe(self, amount: float) -> None:
        """Records one value."""
        self._add(amount)
        self._buckets[bisect_left(self._bounds, amount)](1)


def find_increment(child: Counter | Gauge) -> Increment:
    """Returns what adds to one child, without the library's checks of labels and sign: half the cost."""
    increment: Increment = child._value.inc
    return increment


class RequestMetrics:
    """What is counted for every HTTP request."""

    def __init__(self, registry: CollectorRegistry):
        self._total = Counter(
            "consoul_request_total", "Requests answered.", ["endpoint", "method", "status"], registry=registry
        )
        self._latency = Histogram(
            "consoul_request_latency_seconds", "Whole duration of requests.", ["endpoint", "method"],
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._errors = Counter(
            "consoul_errors_total", "Requests that ended in an error, by kind.", ["endpoint", "error_type"],
            registry=registry,
        )  # fmt: skip
        self._overhead = Histogram(
            "consoul_overhead_seconds", "Duration of requests without the provider's time.", ["endpoint"],
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "consoul_requests_in_flight", "Requests being handled.", registry=registry, multiprocess_mode="livesum"
        )
        self.count_in_flight = find_increment(self.in_flight)
        self._totals: dict[tuple[str, str, int], Increment] = {}
        self._latencies: dict[tuple[str, str], Observer] = {}
        self._overheads: dict[str, Observer] = {}
        for path in ("/health", "/ready"):
            self._create(path, "GET")
        limited = [("/chat", "POST"), ("/chat/batch", "POST"), ("/chat/stream", "POST")]
        for path, method in [*limited, (WEBSOCKET_ENDPOINT, WEBSOCKET_MESSAGE)]:
            self._create(path, method)
            for error_type in ERROR_TYPES:
                self._errors.labels(path, error_type)
            self._overheads[path] = Observer(self._overhead.labels(path))
        # There from the start, so that no stray path adds a series.
        self._latencies[UNMATCHED, "GET"] = Observer(self._latency.labels(UNMATCHED, "GET"))
        self._totals[UNMATCHED, "GET", 404] = find_increment(self._total.labels(UNMATCHED, "GET", "404"))
        self._errors.labels(UNMATCHED, "client_error")

    def _create(self, endpoint: str, method: str) -> None:
        self._latencies[endpoint, method] = Observer(self._latency.labels(endpoint, method))
        self._totals[endpoint, method, 200] = find_increment(self._total.labels(endpoint, method, "200"))

    def observe(self, endpoint: str, method: str, status: int, duration_s: float) -> None:
        """Counts one answered request; `endpoint` is a route template."""
        if method not in METHODS:
            method = "OTHER"
        total = self._totals.get((endpoint, method, status))
        if total is None:
            total = find_increment(self._total.labels(endpoint, method, str(status)))
            self._totals[endpoint, method, status] = total
        total(1)
        latency = self._latencies.get((endpoint, method))
        if latency is None:
            latency = self._latencies[endpoint, method] = Observer(self._latency.labels(endpoint, method))
        latency.observe(duration_s)

    def observe_overhead(self, endpoint: str, duration_s: float) -> None:
        """Records the part of a request's duration that was not the provider's."""
        self._overheads[endpoint].observe(duration_s)

    def count_error(self, endpoint: str, error_type: str) -> None:
        """Counts one request that ended in an error."""
        self._errors.labels(endpoint, error_type).inc()


class ProviderMetrics:
    """What is counted for calls to providers and for their breakers."""

    def __init__(self, registry: CollectorRegistry):
        latency = Histogram(
            "consoul_provider_latency_seconds", "Duration of calls to a provider.", ["provider"],
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        state = Gauge(
            "consoul_circuit_breaker_state", "0 closed, 1 half-open, 2 open; the worst of all workers.", ["provider"],
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        trips = Counter(
            "consoul_circuit_breaker_trips_total", "Times a breaker opened.", ["provider"], registry=registry
        )
        rejections = Counter(
            "consoul_circuit_breaker_rejections_total", "Calls a breaker refused.", ["provider"], registry=registry
        )
        tokens = Counter("consoul_token_usage_total", "Tokens counted.", ["direction", "model"], registry=registry)
        self.latency = {name: Observer(latency.labels(name)) for name in PROVIDERS}
        self.breaker_state = {name: state.labels(name) for name in PROVIDERS}
        self.rejections = {name: rejections.labels(name) for name in PROVIDERS}
        self._trips = {name: trips.labels(name) for name in PROVIDERS}
        models = [*(card.name for card in CARDS), OTHER_MODEL]
        self.count_input = {model: find_increment(tokens.labels("input", model)) for model in models}
        self.count_output = {model: find_increment(tokens.labels("output", model)) for model in models}
        for gauge in self.breaker_state.values():
            gauge.set(BreakerState.CLOSED)

    def record_transition(self, provider: str, to: BreakerState) -> None:
        """Publishes a breaker's new state, and counts it when it opened."""
        self.breaker_state[provider].set(to)
        if to is BreakerState.OPEN:
            self._trips[provider].inc()


class StateMetrics:
    """What is counted for sessions, limits, and the pools that lead to them."""

    def __init__(self, registry: CollectorRegistry, tiers: list[str]):
        self.active_sessions = Gauge(
            "consoul_active_sessions", "Sessions that have not expired.", registry=registry,
            multiprocess_mode="mostrecent",
        )  # fmt: skip
        self.sessions_created = Counter("consoul_sessions_created_total", "Sessions created.", registry=registry)
        decisions = Counter(
            "consoul_rate_limit_decisions_total", "Answers of the rate limiter.", ["tier", "decision"],
            registry=registry,
        )  # fmt: skip
        self.decisions = {
            (tier, allowed): find_increment(decisions.labels(tier, "allowed" if allowed else "limited"))
            for tier in tiers
            for allowed in (True, False)
        }
        in_use = Gauge(
            "consoul_pool_connections_in_use", "Places of a pool in use, of all workers.", ["pool"],
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        maximum = Gauge(
            "consoul_pool_connections_max", "Places a pool has, of all workers.", ["pool"],
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.pool_in_use = {pool: in_use.labels(pool) for pool in POOLS}
        self.pool_max = {pool: maximum.labels(pool) for pool in POOLS}


class TokenGaps:
    """One child of the histogram of gaps, fed a run of tokens at a time."""

    def __init__(self, histogram: Histogram):
        # The library observes one value at a time, which at 100,000 tokens a second would be a tenth of a core.
        self._bounds = histogram._upper_bounds
        self._buckets = histogram._buckets
        self._sum = histogram._sum

    def observe(self, gap_s: float | None, more: int) -> None:
        """Records the gap before a run, None for the first of a stream, and `more` gaps of 0 inside it."""
        if gap_s is not None:
            self._buckets[bisect_left(self._bounds, gap_s)].inc(1)
            self._sum.inc(gap_s)
        if more:
            self._buckets[0].inc(more)


class StreamMetrics:
    """What is counted for streams and for connections that outlive a request."""

    def __init__(self, registry: CollectorRegistry):
        first = Histogram(
            "consoul_time_to_first_token_seconds", "From the request to its first token.", ["transport"],
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        between = Histogram(
            "consoul_inter_token_latency_seconds",
            "Between two tokens of a stream as the transport got them; 0 where they were due at once.", ["transport"],
            buckets=SHORT_BUCKETS_S, registry=registry,
        )  # fmt: skip
        slow = Counter(
            "consoul_slow_client_disconnects_total", "Connections closed since the client read too slowly.",
            ["reason"], registry=registry,
        )  # fmt: skip
        self.time_to_first_token = {name: first.labels(name) for name in STREAMING_TRANSPORTS}
        self.token_gaps = {name: TokenGaps(between.labels(name)) for name in STREAMING_TRANSPORTS}
        self.slow_disconnects = {name: slow.labels(name) for name in SLOW_REASONS}
        self.websocket_connections = Gauge(
            "consoul_websocket_connections", "WebSockets open.", registry=registry, multiprocess_mode="livesum"
        )


class StorageMetrics:
    """What is counted for Redis being away, and for the collection of dead sessions."""

    def __init__(self, registry: CollectorRegistry):
        self.degraded = Gauge(
            "consoul_redis_degraded", "1 while memory stands in for Redis.", registry=registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        self.degraded.set(0)
        self.recovered = Counter(
            "consoul_redis_recovered_total", "Times a worker went back from memory to Redis.", registry=registry
        )
        self.sessions_at_risk = Gauge(
            "consoul_redis_sessions_at_risk", "Sessions with turns that only memory holds so far.", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.gc_deleted = Counter(
            "consoul_session_gc_deleted_total", "Dead sessions deleted from Redis.", registry=registry
        )
        self.gc_duration = Histogram(
            "consoul_session_gc_duration_seconds", "Duration of one cycle of the collection of dead sessions.",
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip


class RuntimeMetrics:
    """What is counted for the interpreter."""

    def __init__(self, registry: CollectorRegistry):
        pause = Histogram(
            "consoul_gc_pause_seconds", "Pauses for Python's garbage collection.", ["generation"],
            buckets=SHORT_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.gc_pause = [pause.labels(str(generation)) for generation in range(3)]
        self.tasks = Gauge(
            "consoul_event_loop_tasks", "Tasks of the event loops, of all workers.", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip


class Metrics:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry, tiers: list[str]):
        self.requests = RequestMetrics(registry)
        self.providers = ProviderMetrics(registry)
        self.state = StateMetrics(registry, tiers)
        self.streams = StreamMetrics(registry)
        self.storage = StorageMetrics(registry)
        self.runtime = RuntimeMetrics(registry)
