"""What the caller's environment says of a run, read once and checked; unknown values are errors, not defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.errors import UsageError

OVERRIDES = ("users", "spawn_rate", "rate", "duration")


@dataclass(frozen=True)
class RunSettings:
    """Settings of one call. `api_key` is None when the caller gave none; it is kept out of `repr`."""

    root: Path
    lab_dir: Path
    results_root: Path
    environ: Mapping[str, str] = field(repr=False)
    time_scale: float
    ui_port: int
    overrides: Mapping[str, str]
    api_key: str | None = field(repr=False)


def read_settings(environ: Mapping[str, str], root: Path, overrides: Mapping[str, str]) -> RunSettings:
    """Settings from environment variables, command-line `overrides` first; lists every bad value at once."""
    problems: list[str] = []
    time_scale = _number(environ, "TIME_SCALE", 1.0, "a factor above 0 and at most 1", lambda x: 0 < x <= 1, problems)
    ui_port = _number(
        environ,
        "LOCUST_UI_PORT",
        8089,
        "a port from 1 to 65535",
        lambda x: 1 <= x <= 65535 and x == int(x),
        problems,
    )
    if problems:
        raise UsageError("\n".join(problems))
    from_environ = {name: environ[name.upper()] for name in OVERRIDES if environ.get(name.upper())}
    return RunSettings(
        root=root,
        lab_dir=root / (environ.get("LAB_DIR") or ".lab"),
        results_root=Path(environ.get("RESULTS_DIR") or root / "results").absolute(),
        environ=environ,
        time_scale=time_scale,
        ui_port=int(ui_port),
        overrides={**from_environ, **overrides},
        api_key=environ.get("API_KEY") or None,
    )


def _number(
    environ: Mapping[str, str],
    name: str,
    default: float,
    wanted: str,
    allowed: Callable[[float], bool],
    problems: list[str],
) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not allowed(value):
        problems.append(f"{name}: got {text!r}, want {wanted}")
        return default
    return value
