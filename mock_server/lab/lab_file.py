"""`lab.json`: what the instrument reads to find a lab that is up. Holds addresses and names, never a secret. Pure."""

from dataclasses import dataclass
from pathlib import Path

from mock_server.lab.settings import HOST, Instance, Ports

CONSOUL_REDIS_PREFIXES = ("consoul:session", "consoul:ratelimit")


@dataclass(frozen=True)
class Features:
    """What this lab has beside its services; `control_token` is the file with the control plane's token."""

    has_prometheus: bool
    has_grafana: bool = False
    control_token: Path | None = None
    preset: str | None = None


def build_notes(features: Features, root: Path) -> list[str]:
    """What a person in the checkout `root` is told of them."""
    notes = []
    if features.control_token:
        notes.append(f"The control plane's token is in {shorten(features.control_token, root)}.")
    if features.preset:
        notes.append(f"Preset: {features.preset}.")
    return notes


def shorten(path: Path, root: Path) -> str:
    """`path` as somebody in `root` would type it."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def build_lab_file(
    stack: str, mode: str, ports: Ports, instances: tuple[Instance, ...], features: Features
) -> dict[str, object]:
    """The document. `metrics_url` and the control plane's `url` are those of the first instance."""
    api_url = f"http://{HOST}:{ports.consoul}"
    metrics_urls = [instance.metrics_url for instance in instances]
    control_urls = [instance.control_url for instance in instances]
    token_file = features.control_token
    return {
        "schema": 1,
        "stack": stack,
        "mode": mode,
        "preset": features.preset,
        "services": {
            "consoul": {
                "url": api_url,
                "ready_url": f"{api_url}/ready",
                "metrics_url": metrics_urls[0],
                "metrics_urls": metrics_urls,
            }
        },
        "control": {"url": control_urls[0], "urls": control_urls, "token_file": str(token_file)}
        if token_file
        else None,
        "redis_url": f"redis://{HOST}:{ports.redis}",
        "redis_prefixes": list(CONSOUL_REDIS_PREFIXES),
        "prometheus_url": f"http://{HOST}:{ports.prometheus}" if features.has_prometheus else None,
        "grafana_url": f"http://{HOST}:{ports.grafana}" if features.has_grafana else None,
    }
