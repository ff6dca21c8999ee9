"""What the instrument knows of each stack: services, default addresses, and which of the target's metrics it reads.

Data only. The default ports are those of the source documents; the lab's own addresses come from `.lab/lab.json`.
"""

from dataclasses import dataclass, field
from typing import Literal

from loadtests.model import StackName


@dataclass(frozen=True)
class Service:
    """One HTTP server of a stack, with the paths a preflight asks."""

    name: str
    default_url: str
    ready_path: str = "/ready"
    health_path: str = "/health"


@dataclass(frozen=True)
class MetricSource:
    """Where a canonical value of the target is found: a sample name, label values to match, how to join them."""

    sample: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    join: Literal["sum", "max"] = "sum"


@dataclass(frozen=True)
class Stack:
    """A set of services tested together.

    `series` is what `make test-load` runs, in order. `lab_api_key` is the lab's own unlimited key, sent only to the
    lab. `metrics` maps the canonical names of the results to the target's own.
    """

    name: StackName
    services: tuple[Service, ...]
    series: tuple[str, ...]
    default_metrics_url: str
    lab_api_key: str
    metrics: dict[str, MetricSource]


CONSOUL = Stack(
    name="consoul",
    services=(Service("consoul", "http://127.0.0.1:8000"),),
    series=("load",),
    default_metrics_url="http://127.0.0.1:9090/metrics",
    lab_api_key="load-lab",
    metrics={
        "requests_total": MetricSource("consoul_request_total", {"endpoint": ("/chat",)}),
        "errors_total": MetricSource("consoul_errors_total"),
        "in_flight": MetricSource("consoul_requests_in_flight"),
        # Every instance counts the sessions of the one Redis they share.
        "active_sessions": MetricSource("consoul_active_sessions", join="max"),
        "breaker_state": MetricSource("consoul_circuit_breaker_state", join="max"),
        "redis_degraded": MetricSource("consoul_redis_degraded", join="max"),
        "cpu_s_total": MetricSource("consoul_process_cpu_seconds"),
        "memory_bytes": MetricSource("consoul_process_resident_memory_bytes"),
    },
)

STACKS: dict[str, Stack] = {CONSOUL.name: CONSOUL}
