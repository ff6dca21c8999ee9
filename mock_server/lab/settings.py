"""What a person may choose about the lab, read from a mapping of variables and checked all at once.

Pure: takes the variables as a mapping, never reads the environment itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mock_server.lab.errors import SettingsError

Mode = Literal["auto", "native", "compose"]

AVAILABLE_STACKS = ("consoul",)
LATER_STACKS = ("suite", "kcp", "prompt")
REDIS_FALLBACK_PORT = 16379

_REACHABLE_HOSTS = ("127.0.0.1", "localhost", "0.0.0.0")
_NO = ("no", "false", "0", "off")
_YES = ("yes", "true", "1", "on")


@dataclass(frozen=True)
class Ports:
    """TCP ports of the lab. `redis_fallback` is tried when `redis` is taken; None when the person chose `redis`."""

    consoul: int
    metrics: int
    redis: int
    prometheus: int
    grafana: int = 3000
    redis_fallback: int | None = None


PORT_VARIABLES = {
    "consoul": ("CONSOUL_PORT", 8000),
    "metrics": ("CONSOUL_OBSERVABILITY_METRICS_PORT", 9090),
    "redis": ("REDIS_PORT", 6379),
    "prometheus": ("PROMETHEUS_PORT", 9091),
    "grafana": ("GRAFANA_PORT", 3000),
}


@dataclass(frozen=True)
class LabSettings:
    """One lab: which stack, how it runs, where its files lie (`lab_dir`), and its ports."""

    stack: str
    mode: Mode
    may_bootstrap: bool
    root: Path
    lab_dir: Path
    ports: Ports


def parse_settings(variables: Mapping[str, str], root: Path) -> LabSettings:
    """Settings of the lab whose checkout is `root`. Empty variables count as unset.

    Raises SettingsError naming every variable that cannot be used, with what it got and what it wants.
    """
    given = {name: value.strip() for name, value in variables.items() if value.strip()}
    problems: list[str] = []
    ports = _parse_ports(given, problems)
    stack = _parse_stack(given.get("STACK", "consoul"), problems)
    mode = _parse_mode(given.get("LAB", "auto"), problems)
    may_bootstrap = _parse_switch("BOOTSTRAP", given.get("BOOTSTRAP", "yes"), problems)
    if given.get("CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED", "true").lower() in _NO:
        problems.append(
            "CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED: got false; the lab scrapes the metrics it turns off. Unset it."
        )
    if given.get("CONSOUL_HOST", "127.0.0.1") not in _REACHABLE_HOSTS:
        problems.append(
            f"CONSOUL_HOST: got {given['CONSOUL_HOST']!r}; the lab asks the mock on 127.0.0.1, "
            f"wanted one of: {', '.join(_REACHABLE_HOSTS)}."
        )
    if problems:
        raise SettingsError("The lab cannot use these settings:\n" + "\n".join(f"  {line}" for line in problems))
    lab_dir = (root / given.get("LAB_DIR", ".lab")).resolve()
    return LabSettings(stack, mode, may_bootstrap, root, lab_dir, ports)


def _parse_stack(name: str, problems: list[str]) -> str:
    if name in LATER_STACKS:
        problems.append(f"STACK: {name} is not available in this version; available: {', '.join(AVAILABLE_STACKS)}.")
    elif name not in AVAILABLE_STACKS:
        problems.append(f"STACK: got {name!r}; wanted one of: {', '.join(AVAILABLE_STACKS)}.")
    return name


def _parse_mode(text: str, problems: list[str]) -> Mode:
    match text:
        case "auto" | "native" | "compose":
            return text
    problems.append(f"LAB: got {text!r}; wanted native or compose, or leave it unset to let the lab choose.")
    return "auto"


def _parse_switch(variable: str, text: str, problems: list[str]) -> bool:
    if text.lower() not in (*_NO, *_YES):
        problems.append(f"{variable}: got {text!r}; wanted yes or no.")
    return text.lower() not in _NO


def _parse_ports(given: Mapping[str, str], problems: list[str]) -> Ports:
    numbers = {
        name: _parse_port(variable, given.get(variable, str(default)), problems)
        for name, (variable, default) in PORT_VARIABLES.items()
    }
    owners: dict[int, str] = {}
    for name, number in numbers.items():
        variable = PORT_VARIABLES[name][0]
        if number and number in owners:
            problems.append(f"{variable}: {number} is also {owners[number]}; each service needs a port of its own.")
        owners.setdefault(number, variable)
    fallback = None
    if "REDIS_PORT" not in given and REDIS_FALLBACK_PORT not in numbers.values():
        fallback = REDIS_FALLBACK_PORT
    return Ports(**numbers, redis_fallback=fallback)


def _parse_port(variable: str, text: str, problems: list[str]) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535:
        return int(text)
    problems.append(f"{variable}: got {text!r}; wanted a port, 1 to 65535.")
    return 0
