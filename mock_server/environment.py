"""From a mapping of variables to settings, with every problem found at once; reads no environment itself."""

import difflib
from collections.abc import Iterable, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mock_server.errors import SettingsError
from mock_server.settings import VARIABLES, Settings, find_range

LEAST_RECONNECT_INTERVAL_S = 10
_SHARED_DEFAULT = "REDIS_URL"
_OWN_PREFIXES = ("CONSOUL_", "MOCK_")
# Values of these are never repeated in a message.
_SECRET_FIELDS = {"api_key_digests", "tier_by_digest", "session_redis_url", "rate_limit_redis_url"}


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Returns the settings `environ` describes; an empty value is no value.

    Raises SettingsError with one line for each unknown name, value out of range, or conflict.
    """
    given = {name: value for name, value in environ.items() if name in VARIABLES and value.strip()}
    problems = [_unknown(name) for name in sorted(environ) if _is_unknown(name)] + _contradictions(given)
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems += [_describe(detail, given) for detail in error.errors(include_url=False, include_context=True)]
        raise SettingsError(list(dict.fromkeys(problems))) from None
    problems += _conflicts(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _contradictions(given: Mapping[str, str]) -> list[str]:
    """Returns one line for each field that two names set differently; REDIS_URL is a default, not a second name."""
    written: dict[str, str] = {}
    problems = []
    for name in VARIABLES:
        if name not in given or name == _SHARED_DEFAULT:
            continue
        first = written.setdefault(VARIABLES[name], name)
        if given[first] != given[name]:
            problems.append(f"{name}: is another name of {first}, and they differ; set one of them")
    return problems


def _is_unknown(name: str) -> bool:
    return name.startswith(_OWN_PREFIXES) and name not in VARIABLES


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "see the table of variables in mock_server/README.md"
    return f"{name}: no such variable; {hint}"


def _describe(detail: ErrorDetails, given: Mapping[str, str]) -> str:
    name, field = _names_of(str(detail["loc"][0]), given)
    got = "a value that is not shown" if field in _SECRET_FIELDS else repr(given.get(name, ""))
    reason = str(detail.get("ctx", {}).get("error") or detail["msg"])
    bounds = _bounds(field)
    if bounds and detail["type"] != "value_error":
        reason = f"must be {'a whole number ' if 'int' in detail['type'] else ''}{bounds}"
    return f"{name}: got {got}; {reason}"


def _names_of(location: str, given: Mapping[str, str]) -> tuple[str, str]:
    """Returns the variable's name as it was written and its field; pydantic says either in a location."""
    field = VARIABLES.get(location, location)
    written = [name for name, of in VARIABLES.items() if of == field and name in given]
    first = next(name for name, of in VARIABLES.items() if of == field)
    return (written[0] if written else first), field


def _bounds(field: str) -> str:
    bounds = find_range(field)
    return "" if bounds is None else f"from {bounds[0]} to {bounds[1]}"


def _conflicts(settings: Settings) -> Iterable[str]:
    in_memory = [
        name
        for name, url in (
            ("CONSOUL_SESSION_REDIS_URL", settings.session_redis_url),
            ("CONSOUL_RATE_LIMIT_REDIS_URL", settings.rate_limit_redis_url),
        )
        if url is None
    ]
    if settings.workers > 1 and in_memory:
        yield (
            f"CONSOUL_WORKERS: got {settings.workers}, but sessions and limits held in memory would be per process; "
            f"set {' and '.join(in_memory)} (or REDIS_URL), or CONSOUL_WORKERS=1"
        )
    missing = sorted(set(settings.tier_by_digest.values()) - set(settings.tier_limits))
    if missing:
        yield f"CONSOUL_TIER_KEYS: tiers without limits: {', '.join(missing)}; add them to CONSOUL_TIER_LIMITS"
    if settings.provider_profile == "custom" and settings.provider_custom is None:
        yield "MOCK_PROVIDER_PROFILE: got 'custom', which needs MOCK_PROVIDER_CUSTOM"
    if settings.redis_reconnect_interval_s < LEAST_RECONNECT_INTERVAL_S and not settings.fast_reconnect:
        yield (
            f"CONSOUL_REDIS_RECONNECT_INTERVAL: got '{settings.redis_reconnect_interval_s:g}'; must be from "
            f"{LEAST_RECONNECT_INTERVAL_S} to 3600 (tests may go below with MOCK_FAST_RECONNECT=true)"
        )
    if settings.control_enabled and not settings.prometheus_enabled:
        yield "MOCK_CONTROL_ENABLED: its port is that of metrics; set CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED=true"
    if settings.control_enabled and settings.control_token_file is None:
        yield "MOCK_CONTROL_ENABLED: got true, which needs MOCK_CONTROL_TOKEN_FILE, a file that holds the token"
    if settings.prometheus_enabled and settings.port == settings.metrics_port:
        yield f"CONSOUL_OBSERVABILITY_METRICS_PORT: got {settings.metrics_port}, which CONSOUL_PORT already takes"
