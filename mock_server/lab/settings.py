"""What a person may choose about the lab, read from a mapping of variables and checked all at once.

Pure: takes the variables as a mapping, never reads the environment itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mock_server.lab.errors import SettingsError

Mode = Literal["auto", "native", "compose"]

HOST = "127.0.0.1"
AVAILABLE_STACKS = ("consoul",)
LATER_STACKS = ("suite", "kcp", "prompt")
REDIS_FALLBACK_PORT = 16379
MOST_INSTANCES = 9

_LAST_PORT = 65535
_REACHABLE_HOSTS = ("127.0.0.1", "localhost", "0.0.0.0")
NO = ("no", "false", "0", "off")
_YES = ("yes", "true", "1", "on")


@dataclass(frozen=True)
class Ports:
    """TCP ports of the lab. `redis_fallback` is tried when `redis` is taken; None when the person chose `redis`.

    `instance` and `instance_metrics` are those of the first of several instances, which then stand behind `consoul`.
    """

    consoul: int
    metrics: int
    redis: int
    prometheus: int
    grafana: int = 3000
    redis_fallback: int | None = None
    instance: int = 8100
    instance_metrics: int = 9190


PORT_VARIABLES = {
    "consoul": ("CONSOUL_PORT", 8000),
    "metrics": ("CONSOUL_OBSERVABILITY_METRICS_PORT", 9090),
    "redis": ("REDIS_PORT", 6379),
    "prometheus": ("PROMETHEUS_PORT", 9091),
    "grafana": ("GRAFANA_PORT", 3000),
}
INSTANCE_PORT_VARIABLES = {"instance": ("INSTANCE_PORT", 8100), "instance_metrics": ("INSTANCE_METRICS_PORT", 9190)}


@dataclass(frozen=True)
class Instance:
    """One Consoul server of the lab."""

    name: str
    port: int
    metrics_port: int

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Where its metrics are."""
        return f"http://{HOST}:{self.metrics_port}/metrics"

    @property
    def control_url(self) -> str:
        """Where its control plane is."""
        return f"http://{HOST}:{self.metrics_port}/_mock"


def build_instances(ports: Ports, count: int) -> tuple[Instance, ...]:
    """The Consoul servers of a lab of `count`: the one everybody knows, or several on ports of their own."""
    if count == 1:
        return (Instance("consoul", ports.consoul, ports.metrics),)
    return tuple(
        Instance(f"consoul-{number + 1}", ports.instance + number, ports.instance_metrics + number)
        for number in range(count)
    )


def list_places(ports: Ports, count: int) -> dict[str, tuple[int, str]]:
    """Every port a lab of `count` instances takes, by who listens there: (number, the variable that moves it)."""
    chosen = {name: (getattr(ports, name), variable) for name, (variable, _) in PORT_VARIABLES.items()}
    if count == 1:
        return chosen
    places = {"nginx": chosen["consoul"]}
    for instance in build_instances(ports, count):
        places[instance.name] = (instance.port, INSTANCE_PORT_VARIABLES["instance"][0])
        places[f"metrics of {instance.name}"] = (
            instance.metrics_port,
            INSTANCE_PORT_VARIABLES["instance_metrics"][0],
        )
    return {**places, **{name: chosen[name] for name in ("redis", "prometheus", "grafana")}}


@dataclass(frozen=True)
class LabSettings:
    """One lab: which stack, how it runs, where its files lie (`lab_dir`), its ports, and the presets by name.

    `instances` is None when nobody asked for a number: one, or as many as a lab that is up has.
    """

    stack: str
    mode: Mode
    may_bootstrap: bool
    root: Path
    lab_dir: Path
    ports: Ports
    instances: int | None = None
    presets: tuple[str, ...] = ()


def parse_settings(variables: Mapping[str, str], root: Path) -> LabSettings:
    """Settings of the lab whose checkout is `root`. Empty variables count as unset.

    Raises SettingsError naming every variable that cannot be used, with what it got and what it wants.
    """
    given = {name: value.strip() for name, value in variables.items() if value.strip()}
    problems: list[str] = []
    instances = _parse_instances(given.get("INSTANCES"), problems)
    ports = _parse_ports(given, instances or 1, problems)
    stack = _parse_stack(given.get("STACK", "consoul"), problems)
    mode = _parse_mode(given.get("LAB", "auto"), problems)
    may_bootstrap = _parse_switch("BOOTSTRAP", given.get("BOOTSTRAP", "yes"), problems)
    if given.get("CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED", "true").lower() in NO:
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
    # Each name once, in the order given.
    presets = dict.fromkeys(name.strip() for name in given.get("PRESET", "").split(",") if name.strip())
    return LabSettings(stack, mode, may_bootstrap, root, lab_dir, ports, instances, tuple(presets))


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
    if text.lower() not in (*NO, *_YES):
        problems.append(f"{variable}: got {text!r}; wanted yes or no.")
    return text.lower() not in NO


def _parse_instances(text: str | None, problems: list[str]) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_INSTANCES:
        return int(text)
    problems.append(f"INSTANCES: got {text!r}; wanted a whole number, 1 to {MOST_INSTANCES}.")
    return None


def _parse_ports(given: Mapping[str, str], instances: int, problems: list[str]) -> Ports:
    numbers = {
        name: _parse_port(variable, given.get(variable, str(default)), problems)
        for name, (variable, default) in {**PORT_VARIABLES, **INSTANCE_PORT_VARIABLES}.items()
    }
    ports = Ports(**numbers)
    places = list_places(ports, instances)
    owners: dict[int, str] = {}
    for number, variable in places.values():
        if number > _LAST_PORT:
            problems.append(
                f"{variable}: {number} is past the last port; {instances} instances take as many in a row."
            )
        if number and number in owners:
            problems.append(f"{variable}: {number} is also {owners[number]}; each service needs a port of its own.")
        owners.setdefault(number, variable)
    if "REDIS_PORT" not in given and REDIS_FALLBACK_PORT not in owners:
        return replace(ports, redis_fallback=REDIS_FALLBACK_PORT)
    return ports


def _parse_port(variable: str, text: str, problems: list[str]) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= _LAST_PORT:
        return int(text)
    problems.append(f"{variable}: got {text!r}; wanted a port, 1 to 65535.")
    return 0
