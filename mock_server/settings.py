"""Every variable of the mock: name, default, range. Reads no environment; takes it as a mapping."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from mock_server.core.faults import FailureKind
from mock_server.core.latency import LatencyProfile, ProfileName
from mock_server.core.limits import Limit, parse_limits
from mock_server.parsing import parse_custom_profile, parse_keys, parse_redis_url, parse_tier_keys, parse_tier_limits


def _variable(default: Any, *names: str, **constraints: Any) -> Any:
    return Field(default=default, validation_alias=AliasChoices(*names), validate_default=True, **constraints)


Seconds = Annotated[float, Field(allow_inf_nan=False)]
RedisUrl = Annotated[SecretStr | None, AfterValidator(parse_redis_url)]
Limits = Annotated[tuple[Limit, ...], BeforeValidator(lambda value: parse_limits(value))]
Tiers = Mapping[str, str]
Ratio = Annotated[float, Field(ge=0, le=1)]
# Answers a second; 0 is no bound.
Capacity = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
BatchSize = Annotated[int, Field(ge=1, le=10_000)]
CustomProfile = Annotated[LatencyProfile | None, BeforeValidator(parse_custom_profile)]


class Settings(BaseModel):
    """The settings of one mock; frozen. Keys are held as digests, and neither they nor URLs appear in its `repr`."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)

    host: str = _variable("127.0.0.1", "CONSOUL_HOST", min_length=1)
    port: int = _variable(8000, "CONSOUL_PORT", ge=1, le=65535)
    workers: int = _variable(1, "CONSOUL_WORKERS", ge=1, le=128)
    api_key_digests: Annotated[frozenset[str], BeforeValidator(parse_keys)] = _variable(
        "", "CONSOUL_API_KEYS", "CONSOUL_API_KEY", repr=False
    )

    session_redis_url: RedisUrl = _variable(None, "CONSOUL_SESSION_REDIS_URL", "REDIS_URL")
    rate_limit_redis_url: RedisUrl = _variable(None, "CONSOUL_RATE_LIMIT_REDIS_URL", "REDIS_URL")
    redis_max_connections: int = _variable(100, "CONSOUL_REDIS_MAX_CONNECTIONS", ge=1, le=10_000)
    redis_fallback_enabled: bool = _variable(False, "CONSOUL_REDIS_FALLBACK_ENABLED")
    # Below 10 only with MOCK_FAST_RECONNECT.
    redis_reconnect_interval_s: Seconds = _variable(60, "CONSOUL_REDIS_RECONNECT_INTERVAL", ge=0.1, le=3600)
    fast_reconnect: bool = _variable(False, "MOCK_FAST_RECONNECT")

    session_ttl_s: int = _variable(3600, "CONSOUL_SESSION_TTL", ge=1, le=31_536_000)
    session_key_prefix: str = _variable(
        "consoul:session", "CONSOUL_SESSION_KEY_PREFIX", pattern=r"^[A-Za-z0-9._:-]{1,64}$"
    )
    session_gc_interval_s: Seconds = _variable(3600, "CONSOUL_SESSION_GC_INTERVAL", ge=1, le=86_400)
    session_gc_batch_size: int = _variable(100, "CONSOUL_SESSION_GC_BATCH_SIZE", ge=1, le=10_000)
    max_history_messages: int = _variable(50, "CONSOUL_MAX_HISTORY_MESSAGES", ge=2, le=1000)

    rate_limit_enabled: bool = _variable(True, "CONSOUL_RATE_LIMIT_ENABLED", "CONSOUL_ENABLED")
    default_limits: Limits = _variable("10/minute", "CONSOUL_DEFAULT_LIMITS")
    tier_by_digest: Annotated[Tiers, BeforeValidator(parse_tier_keys)] = _variable(
        "", "CONSOUL_TIER_KEYS", repr=False
    )
    tier_limits: Annotated[Mapping[str, tuple[Limit, ...]], BeforeValidator(parse_tier_limits)] = _variable(
        "", "CONSOUL_TIER_LIMITS"
    )
    rate_limit_key_prefix: str = _variable(
        "consoul:ratelimit", "CONSOUL_RATE_LIMIT_KEY_PREFIX", "CONSOUL_KEY_PREFIX", pattern=r"^[A-Za-z0-9._:-]{1,64}$"
    )

    circuit_breaker_enabled: bool = _variable(True, "CONSOUL_CIRCUIT_BREAKER_ENABLED")
    circuit_breaker_failure_threshold: int = _variable(5, "CONSOUL_CIRCUIT_BREAKER_FAILURE_THRESHOLD", ge=1, le=1000)
    circuit_breaker_success_threshold: int = _variable(3, "CONSOUL_CIRCUIT_BREAKER_SUCCESS_THRESHOLD", ge=1, le=1000)
    circuit_breaker_timeout_s: Seconds = _variable(60, "CONSOUL_CIRCUIT_BREAKER_TIMEOUT", ge=0.1, le=3600)
    circuit_breaker_half_open_max_calls: int = _variable(
        3, "CONSOUL_CIRCUIT_BREAKER_HALF_OPEN_MAX_CALLS", ge=1, le=1000
    )

    max_body_size_bytes: int = _variable(1_048_576, "CONSOUL_MAX_BODY_SIZE", ge=1024, le=104_857_600)
    ws_send_timeout_s: Seconds = _variable(5, "CONSOUL_WS_SEND_TIMEOUT", ge=0.1, le=300)
    ws_max_buffer: int = _variable(1000, "CONSOUL_WS_MAX_BUFFER", ge=1, le=1_000_000)
    max_websocket_connections: int = _variable(10_000, "CONSOUL_MAX_WEBSOCKET_CONNECTIONS", ge=1, le=1_000_000)
    websocket_idle_timeout_s: Seconds = _variable(
        300, "CONSOUL_WEBSOCKET_IDLE_TIMEOUT", "CONSOUL_WS_TIMEOUT", ge=1, le=86_400
    )

    prometheus_enabled: bool = _variable(True, "CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED")
    metrics_port: int = _variable(9090, "CONSOUL_OBSERVABILITY_METRICS_PORT", ge=1, le=65535)
    gc_debug: bool = _variable(False, "PYTHONGC_DEBUG")

    provider_max_connections: int = _variable(100, "HTTPX_MAX_CONNECTIONS", ge=1, le=100_000)
    openai_timeout_s: Seconds = _variable(120, "OPENAI_TIMEOUT", ge=0.1, le=3600)
    anthropic_timeout_s: Seconds = _variable(120, "ANTHROPIC_TIMEOUT", ge=0.1, le=3600)
    provider_profile: ProfileName = _variable("instant", "MOCK_PROVIDER_PROFILE")
    provider_custom: CustomProfile = _variable("", "MOCK_PROVIDER_CUSTOM")
    provider_failure_ratio: Ratio = _variable(0.0, "MOCK_PROVIDER_FAILURE_RATIO")
    provider_failure_kind: FailureKind = _variable("error", "MOCK_PROVIDER_FAILURE_KIND")
    # Of each provider, all workers together.
    provider_capacity: Capacity = _variable(0.0, "MOCK_PROVIDER_CAPACITY")
    provider_batch_size: BatchSize = _variable(8, "MOCK_PROVIDER_BATCH_SIZE")
    seed: int = _variable(1, "MOCK_SEED", ge=0, le=2**63 - 1)
    control_enabled: bool = _variable(False, "MOCK_CONTROL_ENABLED")
    control_token_file: Path | None = _variable(None, "MOCK_CONTROL_TOKEN_FILE")
    ledger_size: int = _variable(10_000, "MOCK_LEDGER_SIZE", ge=1, le=1_000_000)

    limit_concurrency: int = _variable(1000, "CONSOUL_LIMIT_CONCURRENCY", ge=1, le=1_000_000)
    timeout_keep_alive_s: int = _variable(30, "CONSOUL_TIMEOUT_KEEP_ALIVE", ge=1, le=3600)
    backlog: int = _variable(2048, "CONSOUL_BACKLOG", ge=1, le=65_535)
    access_log: bool = _variable(False, "CONSOUL_ACCESS_LOG")
    log_level: Literal["critical", "error", "warning", "info", "debug"] = _variable("info", "CONSOUL_LOG_LEVEL")
    thread_pool_size: int | None = _variable(None, "CONSOUL_THREAD_POOL_SIZE", ge=1, le=1024)

    def limits_of(self, tier: str) -> tuple[Limit, ...]:
        """Returns the limits of a tier; a tier without its own gets the default."""
        return self.tier_limits.get(tier, self.default_limits)


VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        str(name): field
        for field, info in Settings.model_fields.items()
        if isinstance(info.validation_alias, AliasChoices)
        for name in info.validation_alias.choices
    }
)


def find_range(field: str) -> tuple[Any, Any] | None:
    """Returns the least and the most a field may be, or None where it has no such bounds."""
    metadata: list[Any] = Settings.model_fields[field].metadata
    least = next((entry.ge for entry in metadata if isinstance(entry, Ge)), None)
    most = next((entry.le for entry in metadata if isinstance(entry, Le)), None)
    return None if least is None or most is None else (least, most)
