"""Settings of the lab: defaults, and every refusal said at once."""

from pathlib import Path

import pytest

from mock_server.lab.errors import SettingsError
from mock_server.lab.settings import Ports, parse_settings

ROOT = Path("/checkout")


def test_defaults_are_the_ports_everybody_is_told() -> None:
    settings = parse_settings({}, ROOT)

    assert settings.ports == Ports(consoul=8000, metrics=9090, redis=6379, prometheus=9091, redis_fallback=16379)
    assert (settings.stack, settings.mode, settings.may_bootstrap) == ("consoul", "auto", True)
    assert settings.lab_dir == ROOT / ".lab"


def test_a_chosen_redis_port_has_no_fallback() -> None:
    assert parse_settings({"REDIS_PORT": "7000"}, ROOT).ports.redis_fallback is None


def test_the_fallback_is_not_used_when_another_service_has_its_port() -> None:
    assert parse_settings({"CONSOUL_PORT": "16379"}, ROOT).ports.redis_fallback is None


def test_an_empty_variable_is_unset() -> None:
    assert parse_settings({"CONSOUL_PORT": " ", "LAB": ""}, ROOT) == parse_settings({}, ROOT)


def test_the_lab_folder_may_lie_elsewhere() -> None:
    assert parse_settings({"LAB_DIR": "/elsewhere"}, ROOT).lab_dir == Path("/elsewhere")


@pytest.mark.parametrize("text", ["0", "65536", "-1", "80a", "8000.0", "٨٠"])
def test_a_port_out_of_range_names_variable_value_and_range(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"PROMETHEUS_PORT": text}, ROOT)

    assert f"PROMETHEUS_PORT: got {text!r}; wanted a port, 1 to 65535." in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"STACK": "suite", "LAB": "cloud", "BOOTSTRAP": "maybe", "REDIS_PORT": "x"}, ROOT)

    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == ["REDIS_PORT", "STACK", "LAB", "BOOTSTRAP"]


@pytest.mark.parametrize("stack", ["suite", "kcp", "prompt"])
def test_a_later_stack_is_not_available_in_this_version(stack: str) -> None:
    with pytest.raises(SettingsError, match=f"{stack} is not available in this version"):
        parse_settings({"STACK": stack}, ROOT)


@pytest.mark.parametrize("text", ["0", "10", "-1", "two", "1.5"])
def test_a_number_of_instances_out_of_range_names_the_range(text: str) -> None:
    with pytest.raises(SettingsError, match=f"INSTANCES: got '{text}'; wanted a whole number, 1 to 9"):
        parse_settings({"INSTANCES": text}, ROOT)


def test_nobody_asked_for_a_number_of_instances_is_not_the_same_as_one() -> None:
    assert parse_settings({}, ROOT).instances is None
    assert parse_settings({"INSTANCES": "1"}, ROOT).instances == 1


def test_ports_of_instances_are_refused_where_they_meet_others_or_the_end() -> None:
    with pytest.raises(SettingsError, match="REDIS_PORT: 8102 is also INSTANCE_PORT"):
        parse_settings({"INSTANCES": "3", "REDIS_PORT": "8102"}, ROOT)
    with pytest.raises(SettingsError, match="INSTANCE_PORT: 65536 is past the last port"):
        parse_settings({"INSTANCES": "3", "INSTANCE_PORT": "65534"}, ROOT)
    assert parse_settings({"INSTANCES": "3", "PROMETHEUS_PORT": "9090"}, ROOT), "nothing else has 9090 then"


def test_presets_are_named_once_each_in_their_order() -> None:
    assert parse_settings({"PRESET": " pool-50, gc-frequent,,pool-50"}, ROOT).presets == ("pool-50", "gc-frequent")


def test_an_unknown_stack_is_told_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="got 'consol'; wanted one of: consoul"):
        parse_settings({"STACK": "consol"}, ROOT)


def test_two_services_on_one_port_are_refused() -> None:
    with pytest.raises(SettingsError, match="PROMETHEUS_PORT: 9090 is also CONSOUL_OBSERVABILITY_METRICS_PORT"):
        parse_settings({"PROMETHEUS_PORT": "9090"}, ROOT)


def test_a_lab_without_metrics_is_refused() -> None:
    with pytest.raises(SettingsError, match="CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED"):
        parse_settings({"CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED": "False"}, ROOT)


def test_a_mock_that_loopback_does_not_reach_is_refused() -> None:
    assert parse_settings({"CONSOUL_HOST": "0.0.0.0"}, ROOT)
    with pytest.raises(SettingsError, match=r"CONSOUL_HOST: got '10\.0\.0\.1'"):
        parse_settings({"CONSOUL_HOST": "10.0.0.1"}, ROOT)
