"""The lab's own copy of the scrape configuration: the committed one with the ports that were chosen. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from mock_server.lab.errors import LabError
from mock_server.lab.settings import HOST, PORT_VARIABLES, Instance, Ports

_NOTICE = "# Written by the lab at each start from prometheus/prometheus.yml; change that one.\n"


def render_scrape_config(committed: str, ports: Ports, instances: Sequence[Instance], base_dir: Path) -> str:
    """`committed` (YAML) with default targets moved to `ports`, and rule files found from `base_dir`.

    The mock's target becomes one target for each of `instances`, so each is an `instance` of the same job.

    Raises LabError when it is no mapping or does not scrape the mock at its default address.
    """
    document = yaml.safe_load(committed)
    if not isinstance(document, dict):
        raise LabError(f"{base_dir / 'prometheus.yml'}: wanted a mapping, got {type(document).__name__}.")
    moved = _build_moves(ports, instances)
    default_target = f"{HOST}:{PORT_VARIABLES['metrics'][1]}"
    targets = [target for group in _iterate_groups(document) for target in group["targets"]]
    if default_target not in targets:
        raise LabError(f"{base_dir / 'prometheus.yml'}: no job scrapes {default_target}; found {targets}.")
    for group in _iterate_groups(document):
        group["targets"] = [place for target in group["targets"] for place in moved.get(target, [target])]
    if "rule_files" in document:
        document["rule_files"] = [str(base_dir / name) for name in document["rule_files"]]
    return _NOTICE + yaml.safe_dump(document, sort_keys=False)


def _build_moves(ports: Ports, instances: Sequence[Instance]) -> Mapping[str, list[str]]:
    chosen = {
        "metrics": [instance.metrics_port for instance in instances],
        "prometheus": [ports.prometheus],
        "grafana": [ports.grafana],
    }
    return {
        f"{HOST}:{PORT_VARIABLES[name][1]}": [f"{HOST}:{port}" for port in places] for name, places in chosen.items()
    }


def _iterate_groups(document: dict[str, list[dict[str, list[dict[str, list[str]]]]]]) -> list[dict[str, list[str]]]:
    jobs = document.get("scrape_configs") or []
    return [group for job in jobs for group in job.get("static_configs") or []]
