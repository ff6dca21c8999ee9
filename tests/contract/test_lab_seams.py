"""What the lab takes for granted of the files around it: scrape targets, playbook variables, ports in other files."""

from pathlib import Path

import yaml

from mock_server.lab.binaries import Binaries
from mock_server.lab.scrape import render_scrape_config
from mock_server.lab.settings import HOST, INSTANCE_PORT_VARIABLES, PORT_VARIABLES, Ports, build_instances

ROOT = Path(__file__).resolve().parents[2]


def scrape_targets(text: str) -> dict[str, list[str]]:
    jobs = yaml.safe_load(text)["scrape_configs"]
    return {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}


def test_the_committed_scrape_configuration_has_the_default_ports() -> None:
    targets = scrape_targets((ROOT / "prometheus" / "prometheus.yml").read_text())

    assert targets["consoul"] == [f"{HOST}:{PORT_VARIABLES['metrics'][1]}"]
    assert targets["prometheus"] == [f"{HOST}:{PORT_VARIABLES['prometheus'][1]}"]


def test_the_labs_copy_scrapes_the_chosen_ports_and_finds_the_rules() -> None:
    committed = (ROOT / "prometheus" / "prometheus.yml").read_text()

    ports = Ports(1, 29090, 2, 29091)
    rendered = render_scrape_config(committed, ports, build_instances(ports, 1), ROOT / "prometheus")

    assert scrape_targets(rendered)["consoul"] == [f"{HOST}:29090"]
    assert scrape_targets(rendered)["prometheus"] == [f"{HOST}:29091"]
    for pattern in yaml.safe_load(rendered)["rule_files"]:
        assert list(Path(pattern).parent.glob(Path(pattern).name)), f"{pattern} finds no rules"


def test_every_variable_the_lab_hands_to_the_playbook_is_one_of_its_role() -> None:
    role = ROOT / "playbooks" / "roles" / "bootstrap"
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())

    assert {name: option["default"] for name, option in specs.items()} == defaults
    assert {"bootstrap_lab_package_names", "bootstrap_test_packages", "bootstrap_bench_packages"} <= set(specs)


def test_compose_reads_the_variables_the_lab_sets() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()

    for variable, default in PORT_VARIABLES.values():
        assert f"${{{variable}:-{default}}}" in compose


def test_defaults_of_ports_are_written_once() -> None:
    ports = Ports(8000, 9090, 6379, 9091)

    for name, (_, default) in {**PORT_VARIABLES, **INSTANCE_PORT_VARIABLES}.items():
        assert getattr(ports, name) == default


def test_the_role_installs_every_package_the_lab_can_miss_and_keeps_its_unit_from_starting() -> None:
    defaults = yaml.safe_load((ROOT / "playbooks" / "roles" / "bootstrap" / "defaults" / "main.yml").read_text())
    missing = Binaries(None, None).find_missing_packages(2)

    assert list(missing) == defaults["bootstrap_lab_package_names"]
    assert [f"{name}.service" for name in missing] == defaults["bootstrap_units"]
