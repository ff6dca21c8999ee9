"""Where a run sends its load, from the caller's settings and the lab's state file; opens no socket."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtests.errors import TargetError, UsageError
from loadtests.stacks import STACKS, Stack

LAB_STATE_SCHEMA = 1


@dataclass(frozen=True)
class LabState:
    """What `.lab/lab.json` says of the lab that is up."""

    stack: str
    mode: str
    service_urls: dict[str, str]
    metrics_urls: tuple[str, ...]
    redis_url: str | None
    redis_prefixes: tuple[str, ...]
    preset: str | None = None


@dataclass(frozen=True)
class Target:
    """The services load is sent to; `lab` is set when they are the lab's own mock, the only target that is reset.

    `metrics_urls` has one address for each instance of the target; none where they are not known.
    """

    stack: Stack
    urls: dict[str, str]
    metrics_urls: tuple[str, ...]
    lab: LabState | None


def load_lab_state(lab_dir: Path) -> LabState | None:
    """The state of the lab whose files lie in `lab_dir`; None when no lab is up."""
    path = lab_dir / "lab.json"
    try:
        data = json.loads(path.read_text())
        if data["schema"] != LAB_STATE_SCHEMA:
            raise UsageError(
                f"{path}: got schema {data['schema']!r}, want {LAB_STATE_SCHEMA}; run `make down` and `make up`"
            )
        services = data["services"]
        return LabState(
            stack=data["stack"],
            mode=data["mode"],
            service_urls={name: service["url"] for name, service in services.items()},
            metrics_urls=tuple(url for service in services.values() for url in _metrics_urls(service)),
            redis_url=data["redis_url"],
            redis_prefixes=tuple(data["redis_prefixes"]),
            preset=data.get("preset"),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a lab state file ({error!r}); run `make down` and `make up`") from error


def _metrics_urls(service: Mapping[str, object]) -> list[str]:
    several = service.get("metrics_urls")
    if isinstance(several, list):
        return [str(url) for url in several]
    one = service.get("metrics_url")
    return [str(one)] if one else []


def resolve_target(stack_name: str, environ: Mapping[str, str], lab: LabState | None) -> Target:
    """The target of a run: `TARGET` (or `TARGET_<SERVICE>`) when given, else the lab that is up, else the defaults.

    Raises UsageError for an unusable address or a lab of another stack, TargetError for a host nobody allowed.
    """
    if stack_name not in STACKS:
        raise UsageError(f"STACK: got {stack_name!r}, want one of {', '.join(STACKS)}")
    stack = STACKS[stack_name]
    given = _given_urls(stack, environ)
    if not given and lab is not None and lab.stack != stack_name:
        raise UsageError(
            f"the lab runs the stack {lab.stack!r}, this profile is for {stack_name!r}; "
            f"run `make down` and `make up STACK={stack_name}`"
        )
    defaults = lab.service_urls if lab is not None and lab.stack == stack_name else {}
    urls = {s.name: given.get(s.name) or defaults.get(s.name) or s.default_url for s in stack.services}
    for url in urls.values():
        _check_allowed(url, environ.get("TARGETS_ALLOWED", ""))
    own = lab if lab is not None and defaults and all(urls[name] == url for name, url in defaults.items()) else None
    if addresses := environ.get("TARGET_METRICS"):
        metrics_urls = tuple(url.strip() for url in addresses.split(",") if url.strip())
        for url in metrics_urls:
            _check_allowed(_checked_url("TARGET_METRICS", url), environ.get("TARGETS_ALLOWED", ""))
    elif own is not None:
        metrics_urls = own.metrics_urls
    else:
        metrics_urls = () if given else (stack.default_metrics_url,)
    return Target(stack=stack, urls=urls, metrics_urls=metrics_urls, lab=own)


def _given_urls(stack: Stack, environ: Mapping[str, str]) -> dict[str, str]:
    given = {}
    for service in stack.services:
        for variable in (f"TARGET_{service.name.upper()}", "TARGET"):
            if environ.get(variable):
                given[service.name] = _checked_url(variable, environ[variable])
                break
    return given


def _checked_url(variable: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{variable}: got {url!r}, want an address such as http://127.0.0.1:8000")
    if parts.username or parts.password:
        raise UsageError(
            f"{variable}: holds a user name or password, which would reach the results; use API_KEY instead"
        )
    if variable != "TARGET_METRICS" and (parts.query or parts.fragment):
        raise UsageError(f"{variable}: got an address with ? or #, want one such as http://127.0.0.1:8000")
    return url.rstrip("/")


def _check_allowed(url: str, allowed: str) -> None:
    host = urlsplit(url).hostname or ""
    names = {name.strip() for name in allowed.split(",") if name.strip()}
    if is_loopback(host) or host in names:
        return
    raise TargetError(
        f"load to {host!r} was not allowed: it is not this machine. "
        f"If it is yours to load, name it: TARGETS_ALLOWED={host}"
    )


def is_loopback(host: str) -> bool:
    """True for `localhost` and for addresses of the loopback range; no name is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
