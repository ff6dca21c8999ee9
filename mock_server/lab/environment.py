"""What the processes of the lab inherit: the lab's own settings of the mock, under what the person set. Pure."""

from collections.abc import Mapping
from pathlib import Path

from mock_server.lab.settings import HOST, NO, Ports

# Every process of a lab inherits it: how its own are found again after the supervisor itself was killed.
MARKER_VARIABLE = "LAB_PROCESS_OF"

# What makes the documents' own commands work unchanged, with or without their sample keys.
CONSOUL_DEFAULTS: Mapping[str, str] = {
    "CONSOUL_DEFAULT_LIMITS": "100000/minute",
    "CONSOUL_TIER_KEYS": '{"basic-key":"basic","premium-key":"premium","load-lab":"lab"}',
    "CONSOUL_TIER_LIMITS": '{"basic":"60/minute","premium":"5000/minute","lab":"100000000/minute"}',
    "CONSOUL_LIMIT_CONCURRENCY": "20000",
    "CONSOUL_REDIS_FALLBACK_ENABLED": "true",
    "CONSOUL_REDIS_RECONNECT_INTERVAL": "10",
    "MOCK_CONTROL_ENABLED": "true",
    "MOCK_PROVIDER_PROFILE": "instant",
}
CONSOUL_SESSION_DATABASE = 0
CONSOUL_LIMITS_DATABASE = 1
_TOKEN_VARIABLE = "MOCK_CONTROL_TOKEN_FILE"  # noqa: S105 - the name of a variable


def build_environment(variables: Mapping[str, str], ports: Ports, marker: str, control_token: Path) -> dict[str, str]:
    """The environment of the supervisor and of all it starts. `control_token` is the file the lab made."""
    redis_url = f"redis://{HOST}:{ports.redis}"
    defaults = {
        **CONSOUL_DEFAULTS,
        "CONSOUL_SESSION_REDIS_URL": f"{redis_url}/{CONSOUL_SESSION_DATABASE}",
        "CONSOUL_RATE_LIMIT_REDIS_URL": f"{redis_url}/{CONSOUL_LIMITS_DATABASE}",
        "CONSOUL_PORT": str(ports.consoul),
        "CONSOUL_OBSERVABILITY_METRICS_PORT": str(ports.metrics),
        _TOKEN_VARIABLE: str(control_token),
        "PYTHONUNBUFFERED": "1",
    }
    given = {name: value for name, value in variables.items() if value.strip()}
    return {**defaults, **given, MARKER_VARIABLE: marker}


def find_control_token(variables: Mapping[str, str], root: Path, made_by_lab: Path) -> Path | None:
    """The file that holds the control plane's token: the person's, else the lab's; None when the plane is off."""
    enabled = variables.get("MOCK_CONTROL_ENABLED", "").strip() or CONSOUL_DEFAULTS["MOCK_CONTROL_ENABLED"]
    if enabled.lower() in NO:
        return None
    given = variables.get(_TOKEN_VARIABLE, "").strip()
    return (root / given).resolve() if given else made_by_lab
