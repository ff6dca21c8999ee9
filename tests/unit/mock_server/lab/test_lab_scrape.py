"""The lab's copy of the scrape configuration follows its ports."""

from pathlib import Path

import pytest
import yaml

from mock_server.lab.errors import LabError
from mock_server.lab.scrape import render_scrape_config
from mock_server.lab.settings import Ports, build_instances

BASE = Path("/checkout/prometheus")
PORTS = Ports(1, 19090, 2, 19091)
COMMITTED = """
global: {scrape_interval: 2s}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: consoul
    static_configs: [{targets: ["127.0.0.1:9090"], labels: {tier: api}}]
  - job_name: prometheus
    static_configs: [{targets: ["127.0.0.1:9091", "10.0.0.1:9100"]}]
"""


def test_default_targets_move_to_the_chosen_ports_and_foreign_ones_stay() -> None:
    rendered = yaml.safe_load(render_scrape_config(COMMITTED, PORTS, build_instances(PORTS, 1), BASE))

    jobs = {job["job_name"]: job["static_configs"][0] for job in rendered["scrape_configs"]}
    assert jobs["consoul"] == {"targets": ["127.0.0.1:19090"], "labels": {"tier": "api"}}
    assert jobs["prometheus"]["targets"] == ["127.0.0.1:19091", "10.0.0.1:9100"]
    assert rendered["global"] == {"scrape_interval": "2s"}


def test_each_instance_is_a_target_of_the_same_job() -> None:
    rendered = yaml.safe_load(render_scrape_config(COMMITTED, PORTS, build_instances(PORTS, 3), BASE))

    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in rendered["scrape_configs"]}
    assert jobs["consoul"] == ["127.0.0.1:9190", "127.0.0.1:9191", "127.0.0.1:9192"]


def test_rules_are_found_from_the_folder_of_the_committed_file() -> None:
    rendered = yaml.safe_load(render_scrape_config(COMMITTED, PORTS, build_instances(PORTS, 1), BASE))

    assert rendered["rule_files"] == ["/checkout/prometheus/rules/*.yml"]


def test_a_configuration_that_does_not_scrape_the_mock_is_refused() -> None:
    with pytest.raises(LabError, match=r"no job scrapes 127\.0\.0\.1:9090; found \['127\.0\.0\.1:8000'\]"):
        render_scrape_config(COMMITTED.replace("9090", "8000").split("  - job_name: prom")[0], PORTS, (), BASE)


def test_a_file_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(LabError, match="wanted a mapping, got list"):
        render_scrape_config("- 1", PORTS, (), BASE)
