"""A target is resolved from settings and the lab's state, and only allowed hosts are ever loaded."""

import json
from pathlib import Path

import pytest

from loadtests.errors import TargetError, UsageError
from loadtests.run.target import LabState, is_loopback, load_lab_state, resolve_target

LAB = LabState(
    stack="consoul",
    mode="native",
    service_urls={"consoul": "http://127.0.0.1:18000"},
    metrics_urls=("http://127.0.0.1:19090/metrics",),
    redis_url="redis://127.0.0.1:16379",
    redis_prefixes=("consoul:session",),
)


def test_lab_that_is_up_is_the_target_and_may_be_reset() -> None:
    target = resolve_target("consoul", {}, LAB)

    assert target.urls == {"consoul": "http://127.0.0.1:18000"}
    assert target.metrics_urls == ("http://127.0.0.1:19090/metrics",)
    assert target.lab is LAB


def test_without_a_lab_the_documents_port_is_asked_and_nothing_is_reset() -> None:
    target = resolve_target("consoul", {}, None)

    assert target.urls == {"consoul": "http://127.0.0.1:8000"}
    assert target.lab is None


def test_a_given_target_is_never_the_lab_and_has_no_metrics_unless_told() -> None:
    target = resolve_target("consoul", {"TARGET": "http://localhost:7000/"}, LAB)

    assert target.urls == {"consoul": "http://localhost:7000"}
    assert target.metrics_urls == ()
    assert target.lab is None


def test_naming_the_labs_own_address_keeps_it_the_lab() -> None:
    assert resolve_target("consoul", {"TARGET": "http://127.0.0.1:18000"}, LAB).lab is LAB


def test_service_variable_wins_over_the_general_one() -> None:
    environ = {"TARGET": "http://localhost:1", "TARGET_CONSOUL": "http://localhost:2"}

    assert resolve_target("consoul", environ, None).urls == {"consoul": "http://localhost:2"}


def test_foreign_host_is_refused_until_it_is_named() -> None:
    environ = {"TARGET": "https://chat.example.org"}
    with pytest.raises(TargetError, match=r"TARGETS_ALLOWED=chat\.example\.org"):
        resolve_target("consoul", environ, None)

    allowed = resolve_target("consoul", environ | {"TARGETS_ALLOWED": "a.example, chat.example.org"}, None)
    assert allowed.urls == {"consoul": "https://chat.example.org"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_is_allowed(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "0.0.0.0", "localhost.example.org", "127.0.0.1.nip.io"])
def test_hosts_that_only_look_local_are_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://localhost", "http://", "nonsense"])
def test_unusable_address_names_the_variable(url: str) -> None:
    with pytest.raises(UsageError, match="TARGET: got"):
        resolve_target("consoul", {"TARGET": url}, None)


def test_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="user name or password") as caught:
        resolve_target("consoul", {"TARGET": "http://me:canary@localhost:1"}, None)

    assert "canary" not in str(caught.value)


def test_lab_of_another_stack_says_what_to_do() -> None:
    other = LabState(**{**LAB.__dict__, "stack": "suite"})
    with pytest.raises(UsageError, match="make up STACK=consoul"):
        resolve_target("consoul", {}, other)


def test_unknown_stack_lists_the_known() -> None:
    with pytest.raises(UsageError, match="want one of consoul"):
        resolve_target("consul", {}, None)


def _write_state(root: Path, **changes: object) -> None:
    state = {
        "schema": 1,
        "stack": "consoul",
        "mode": "native",
        "services": {"consoul": {"url": "http://127.0.0.1:1", "ready_url": "", "metrics_url": "http://127.0.0.1:2/"}},
        "redis_url": "redis://127.0.0.1:3",
        "redis_prefixes": ["a"],
        "prometheus_url": None,
    }
    (root / "lab.json").write_text(json.dumps(state | changes))


def test_state_file_of_the_lab_is_read(tmp_path: Path) -> None:
    _write_state(tmp_path)

    state = load_lab_state(tmp_path)

    assert state is not None
    assert state.service_urls == {"consoul": "http://127.0.0.1:1"}
    assert state.metrics_urls == ("http://127.0.0.1:2/",)
    assert state.preset is None
    assert state.redis_prefixes == ("a",)


def test_every_instance_of_the_lab_is_scraped_and_its_preset_is_known(tmp_path: Path) -> None:
    several = ["http://127.0.0.1:2/", "http://127.0.0.1:3/"]
    service = {"url": "http://127.0.0.1:1", "ready_url": "", "metrics_url": several[0], "metrics_urls": several}
    _write_state(tmp_path, services={"consoul": service}, preset="gc-frequent")

    state = load_lab_state(tmp_path)

    assert state is not None
    assert state.metrics_urls == tuple(several)
    assert state.preset == "gc-frequent"
    assert resolve_target("consoul", {}, state).metrics_urls == tuple(several)


def test_the_metrics_of_a_real_target_may_be_in_several_places_and_each_is_checked() -> None:
    environ = {"TARGET": "http://localhost:1", "TARGET_METRICS": "http://localhost:2/m, http://localhost:3/m"}
    assert resolve_target("consoul", environ, None).metrics_urls == ("http://localhost:2/m", "http://localhost:3/m")

    with pytest.raises(TargetError, match=r"metrics\.example\.org"):
        resolve_target("consoul", environ | {"TARGET_METRICS": "http://localhost:2,http://metrics.example.org"}, None)


def test_no_state_file_means_no_lab(tmp_path: Path) -> None:
    assert load_lab_state(tmp_path) is None


@pytest.mark.parametrize("changes", [{"schema": 2}, {"services": []}, {"services": {"consoul": {}}}])
def test_unreadable_state_file_is_an_error_with_the_way_out(tmp_path: Path, changes: dict[str, object]) -> None:
    _write_state(tmp_path, **changes)
    with pytest.raises(UsageError, match="make down"):
        load_lab_state(tmp_path)


def test_a_query_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match=r"address with \? or #") as caught:
        resolve_target("consoul", {"TARGET": "http://127.0.0.1:8000/?key=canary"}, None)
    assert "canary" not in str(caught.value)
