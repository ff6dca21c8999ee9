"""The dashboard "Consoul": what the service did, as its own metrics tell it. Data only."""

from grafana.panels import Dashboard, Panel, Query, Row

_HEALTHY, _DEGRADED = ("healthy", "green"), ("degraded", "red")


def _latency(quantile: float) -> str:
    return (
        f"histogram_quantile({quantile:.2f}, "
        "sum by (le) (rate(consoul_request_latency_seconds_bucket[$__rate_interval])))"
    )


def _stream_latency(metric: str) -> str:
    return f"histogram_quantile(0.95, sum by (le, transport) (rate({metric}_bucket[$__rate_interval])))"


REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Request rate by endpoint",
            "Requests answered each second, by route.",
            "reqps",
            (Query("sum by (endpoint) (rate(consoul_request_total[$__rate_interval]))", "{{endpoint}}"),),
        ),
        Panel(
            "Request rate by status",
            "Requests answered each second, by HTTP status.",
            "reqps",
            (Query("sum by (status) (rate(consoul_request_total[$__rate_interval]))", "{{status}}"),),
        ),
        Panel(
            "Latency",
            "Time from receiving a request to the end of its answer; orange from 1 s, red from 2 s.",
            "s",
            (Query(_latency(0.5), "p50"), Query(_latency(0.95), "p95"), Query(_latency(0.99), "p99")),
            limits=(1, 2),
        ),
        Panel(
            "Error rate",
            "Share of requests that ended in an error, refusals included; orange from 1 %, red from 5 %.",
            "percent",
            (
                Query(
                    "100 * (sum(rate(consoul_errors_total[$__rate_interval])) or vector(0))"
                    " / (sum(rate(consoul_request_total[$__rate_interval])) > 0)",
                    "errors",
                ),
            ),
            kind="gauge",
            limits=(1, 5),
            maximum=10,
        ),
        Panel(
            "Errors by type",
            "Errors each second, by cause.",
            "reqps",
            (Query("sum by (error_type) (rate(consoul_errors_total[$__rate_interval]))", "{{error_type}}"),),
        ),
        Panel(
            "Requests in flight",
            "Requests being worked on at the moment of the scrape.",
            "short",
            (Query("sum(consoul_requests_in_flight)", "in flight"),),
        ),
    ),
)

STREAMS = Row(
    "Streams and connections",
    (
        Panel(
            "Time to first token",
            "From a request to its first token, 95th percentile by transport.",
            "s",
            (Query(_stream_latency("consoul_time_to_first_token_seconds"), "{{transport}} p95"),),
        ),
        Panel(
            "Time between tokens",
            "From one token to the next, 95th percentile by transport.",
            "s",
            (Query(_stream_latency("consoul_inter_token_latency_seconds"), "{{transport}} p95"),),
        ),
        Panel(
            "WebSockets and slow clients",
            "Open WebSockets, and clients closed in the last moments because they read too slowly, by cause.",
            "short",
            (
                Query("sum(consoul_websocket_connections)", "open"),
                Query(
                    "sum by (reason) (increase(consoul_slow_client_disconnects_total[$__rate_interval]))",
                    "closed: {{reason}}",
                ),
            ),
        ),
    ),
)

WORK = Row(
    "Sessions, tokens, limits",
    (
        Panel(
            "Active sessions",
            "Sessions that have not expired.",
            "short",
            (Query("max(consoul_active_sessions)", "active"),),
            kind="stat",
        ),
        Panel(
            "Sessions begun",
            "New sessions each second; the number of active ones is a gauge and has no rate.",
            "cps",
            (Query("sum(rate(consoul_sessions_created_total[$__rate_interval]))", "begun"),),
        ),
        Panel(
            "Tokens",
            "Tokens each second, by direction and model.",
            "cps",
            (
                Query(
                    "sum by (direction, model) (rate(consoul_token_usage_total[$__rate_interval]))",
                    "{{direction}} {{model}}",
                ),
            ),
        ),
        Panel(
            "Rate limiter decisions",
            "Requests each second that the limiter let pass or refused, by tier.",
            "reqps",
            (
                Query(
                    "sum by (tier, decision) (rate(consoul_rate_limit_decisions_total[$__rate_interval]))",
                    "{{tier}} {{decision}}",
                ),
            ),
            width=24,
        ),
    ),
)

PROTECTION = Row(
    "Circuit breaker and Redis",
    (
        Panel(
            "Circuit breaker",
            "State of the breaker of each provider, the worst of all workers.",
            "short",
            (Query("max by (provider) (consoul_circuit_breaker_state)", "{{provider}}"),),
            kind="statetimeline",
            maximum=2,
            states={0: ("closed", "green"), 1: ("half-open", "orange"), 2: ("open", "red")},
        ),
        Panel(
            "Breaker trips and rejections",
            "Times a breaker opened, and calls it refused, each second by provider.",
            "cps",
            (
                Query(
                    "sum by (provider) (rate(consoul_circuit_breaker_trips_total[$__rate_interval]))",
                    "{{provider}} trips",
                ),
                Query(
                    "sum by (provider) (rate(consoul_circuit_breaker_rejections_total[$__rate_interval]))",
                    "{{provider}} rejections",
                ),
            ),
        ),
        Panel(
            "Redis",
            "Whether sessions and limits are kept in Redis, or in memory because Redis is away.",
            "short",
            (Query("max(consoul_redis_degraded)", "Redis"),),
            kind="stat",
            maximum=1,
            limits=(1, 1),
            states={0: _HEALTHY, 1: _DEGRADED},
        ),
        Panel(
            "Sessions at risk and recoveries",
            "Sessions with turns that only memory holds while Redis is away, and workers that went back to Redis.",
            "short",
            (
                Query("sum(consoul_redis_sessions_at_risk)", "at risk"),
                Query("sum(increase(consoul_redis_recovered_total[$__rate_interval]))", "recoveries"),
            ),
            width=12,
        ),
        Panel(
            "Dead sessions collected",
            "Sessions without an end that the collection deletes from Redis, and its cycles, each second.",
            "cps",
            (
                Query("sum(rate(consoul_session_gc_deleted_total[$__rate_interval]))", "deleted"),
                Query("sum(rate(consoul_session_gc_duration_seconds_count[$__rate_interval]))", "cycles"),
            ),
            width=12,
        ),
    ),
)

WORKERS = Row(
    "Workers and pools",
    (
        Panel(
            "CPU by worker",
            "CPU cores in use by each worker process; one is all that a worker can use.",
            "short",
            (
                # A gauge that only grows: its slope, and never below 0 when a worker is replaced.
                Query(
                    "clamp_min(deriv(consoul_process_cpu_seconds[$__rate_interval]), 0)",
                    "{{instance}} worker {{worker}}",
                ),
            ),
        ),
        Panel(
            "Memory by worker",
            "Resident memory of each worker process.",
            "bytes",
            (Query("consoul_process_resident_memory_bytes", "{{instance}} worker {{worker}}"),),
        ),
        Panel(
            "Pools in use",
            "Share of the places of each pool that is in use, of all instances; orange from half, red from 80 %.",
            "percentunit",
            (
                Query(
                    "sum by (pool) (consoul_pool_connections_in_use)"
                    " / (sum by (pool) (consoul_pool_connections_max) > 0)",
                    "{{pool}}",
                ),
            ),
            limits=(0.5, 0.8),
            maximum=1,
        ),
        Panel(
            "Pauses for Python's garbage collection",
            "Share of its time that a worker stands still for a collection, by generation; the worst instance.",
            "percentunit",
            (
                Query(
                    "max by (generation) (rate(consoul_gc_pause_seconds_sum[$__rate_interval]))",
                    "generation {{generation}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Requests by instance",
            "Requests answered each second by each Consoul server; behind a proxy they should be alike.",
            "reqps",
            (Query("sum by (instance) (rate(consoul_request_total[$__rate_interval]))", "{{instance}}"),),
            width=12,
        ),
    ),
)

DASHBOARD = Dashboard(
    "consoul",
    "Consoul",
    "What the Consoul service did, as its metrics tell: requests, latency, errors, sessions, limits, breaker, Redis.",
    ("load-lab", "consoul"),
    (REQUESTS, STREAMS, WORK, PROTECTION, WORKERS),
)
