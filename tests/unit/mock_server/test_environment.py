import pickle
from pathlib import Path

import pytest

from mock_server.core.identity import key_digest
from mock_server.core.latency import LatencyProfile
from mock_server.core.limits import Limit
from mock_server.environment import load_settings
from mock_server.errors import SettingsError

REDIS = "redis://user:canary-password@127.0.0.1:6379/0"


def problems_of(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(variables)
    return list(caught.value.problems)


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings({"PATH": "/bin", "CONSOUL_PORT": ""})
    assert (settings.host, settings.port, settings.workers, settings.metrics_port) == ("127.0.0.1", 8000, 1, 9090)
    assert settings.default_limits == (Limit(10, 60),)
    assert (settings.session_ttl_s, settings.max_history_messages, settings.session_key_prefix) == (
        3600,
        50,
        "consoul:session",
    )
    assert settings.session_redis_url is None
    assert settings.provider_profile == "instant"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CONSOUL_PROT", "CONSOUL_PORT"),
        ("CONSOUL_DEFAULT_LIMIT", "CONSOUL_DEFAULT_LIMITS"),
        ("MOCK_PROVIDER_PROFIL", "MOCK_PROVIDER_PROFILE"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name: str, hint: str) -> None:
    (problem,) = problems_of(**{name: "1"})
    assert problem == f"{name}: no such variable; did you mean {hint}?"


def test_names_of_others_are_left_alone() -> None:
    load_settings({"CONSOLE": "x", "OPENAI_API_KEY": "y", "MOCKERY": "z"})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("CONSOUL_PORT", "70000", "from 1 to 65535"),
        ("CONSOUL_WORKERS", "two", "a whole number from 1 to 128"),
        ("OPENAI_TIMEOUT", "-1", "from 0.1 to 3600"),
        ("CONSOUL_CIRCUIT_BREAKER_TIMEOUT", "nan", "from 0.1 to 3600"),
        ("CONSOUL_REDIS_RECONNECT_INTERVAL", "5", "from 10"),
        ("CONSOUL_DEFAULT_LIMITS", "5/fortnight", "N/minute"),
        ("MOCK_PROVIDER_PROFILE", "gpt-5", "'gpt-4'"),
        ("CONSOUL_ACCESS_LOG", "maybe", "boolean"),
        ("MOCK_PROVIDER_CUSTOM", '{"total_s": [2, 1], "first_token_share": 0, "tokens": [1, 1]}', "low <= high"),
    ],
)
def test_refusal_names_variable_value_and_range(name: str, value: str, wanted: str) -> None:
    (problem,) = problems_of(**{name: value})
    assert problem.startswith(f"{name}: ")
    assert repr(value) in problem
    assert wanted in problem


def test_all_problems_come_at_once() -> None:
    problems = problems_of(CONSOUL_PRT="1", CONSOUL_PORT="0", MOCK_SEED="x")
    assert [problem.partition(":")[0] for problem in problems] == ["CONSOUL_PRT", "CONSOUL_PORT", "MOCK_SEED"]


@pytest.mark.parametrize(
    ("alias", "value", "field", "expected"),
    [
        ("CONSOUL_KEY_PREFIX", "other", "rate_limit_key_prefix", "other"),
        ("CONSOUL_ENABLED", "false", "rate_limit_enabled", False),
        ("CONSOUL_API_KEY", "k", "api_key_digests", frozenset({key_digest("k")})),
    ],
)
def test_aliases_are_accepted(alias: str, value: str, field: str, expected: object) -> None:
    assert getattr(load_settings({alias: value}), field) == expected


def test_redis_url_serves_both_uses_unless_one_has_its_own() -> None:
    settings = load_settings({"REDIS_URL": REDIS, "CONSOUL_RATE_LIMIT_REDIS_URL": "redis://127.0.0.1:6379/1"})
    assert settings.session_redis_url is not None
    assert settings.rate_limit_redis_url is not None
    assert settings.session_redis_url.get_secret_value() == REDIS
    assert settings.rate_limit_redis_url.get_secret_value().endswith("/1")


def test_two_names_of_one_setting_must_agree() -> None:
    (problem,) = problems_of(CONSOUL_RATE_LIMIT_ENABLED="true", CONSOUL_ENABLED="false")
    assert problem.startswith("CONSOUL_ENABLED: is another name of CONSOUL_RATE_LIMIT_ENABLED")
    load_settings({"CONSOUL_WEBSOCKET_IDLE_TIMEOUT": "300", "CONSOUL_WS_TIMEOUT": "300"})
    load_settings(
        {"REDIS_URL": REDIS, "CONSOUL_SESSION_REDIS_URL": REDIS, "CONSOUL_RATE_LIMIT_REDIS_URL": REDIS + "1"}
    )


def test_lists_of_keys_may_be_json_or_commas() -> None:
    assert load_settings({"CONSOUL_API_KEYS": "a, b,"}).api_key_digests == {key_digest("a"), key_digest("b")}
    assert load_settings({"CONSOUL_API_KEYS": '["a","b"]'}).api_key_digests == {key_digest("a"), key_digest("b")}


@pytest.mark.parametrize("value", [",", "[]", '[""]', " , "])
def test_a_list_that_names_no_key_does_not_turn_authentication_off(value: str) -> None:
    (problem,) = problems_of(CONSOUL_API_KEYS=value)
    assert "names no key" in problem


@pytest.mark.parametrize("variables", [{"CONSOUL_API_KEYS": "clé"}, {"CONSOUL_TIER_KEYS": '{"a\\nb":"t"}'}])
def test_keys_that_no_header_carries_are_refused_unseen(variables: dict[str, str]) -> None:
    (problem,) = problems_of(**variables)
    assert "printable ASCII" in problem
    assert "cl" not in problem.partition(":")[2].replace("clear", "")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/one", "redis://127.0.0.1:70000", "http://h"])
def test_redis_urls_that_lead_elsewhere_than_written_are_refused(url: str) -> None:
    (problem,) = problems_of(CONSOUL_SESSION_REDIS_URL=url)
    assert "write redis://" in problem


def test_tiers_need_limits() -> None:
    (problem,) = problems_of(CONSOUL_TIER_KEYS='{"k":"gold"}')
    assert "gold" in problem
    settings = load_settings({"CONSOUL_TIER_KEYS": '{"k":"gold"}', "CONSOUL_TIER_LIMITS": '{"gold":"5/second"}'})
    assert settings.limits_of(settings.tier_by_digest[key_digest("k")]) == (Limit(5, 1),)
    assert settings.limits_of("none") == (Limit(10, 60),)


def test_secrets_stay_out_of_repr_and_messages() -> None:
    variables = {
        "REDIS_URL": REDIS,
        "CONSOUL_API_KEYS": "canary-key",
        "CONSOUL_TIER_KEYS": '{"canary-tier-key":"t"}',
        "CONSOUL_TIER_LIMITS": '{"t":"1/second"}',
    }
    assert "canary" not in repr(load_settings(variables))
    broken = variables | {
        "REDIS_URL": "http://:canary@x",
        "CONSOUL_API_KEYS": '["canary',
        "CONSOUL_TIER_KEYS": '{"canary',
    }
    assert not [problem for problem in problems_of(**broken) if "canary" in problem]


def test_several_workers_need_redis_for_both() -> None:
    (problem,) = problems_of(CONSOUL_WORKERS="2", CONSOUL_SESSION_REDIS_URL=REDIS)
    assert "CONSOUL_RATE_LIMIT_REDIS_URL" in problem
    assert "CONSOUL_SESSION_REDIS_URL" not in problem


def test_a_short_reconnect_interval_is_for_tests_only() -> None:
    (problem,) = problems_of(CONSOUL_REDIS_RECONNECT_INTERVAL="1")
    assert problem.startswith("CONSOUL_REDIS_RECONNECT_INTERVAL: got '1'; must be from 10 to 3600")
    settings = load_settings({"CONSOUL_REDIS_RECONNECT_INTERVAL": "1", "MOCK_FAST_RECONNECT": "true"})
    assert settings.redis_reconnect_interval_s == 1


def test_the_control_plane_needs_a_token_and_the_metrics_port(tmp_path: Path) -> None:
    (problem,) = problems_of(MOCK_CONTROL_ENABLED="true")
    assert "MOCK_CONTROL_TOKEN_FILE" in problem
    (problem,) = problems_of(
        MOCK_CONTROL_ENABLED="true",
        MOCK_CONTROL_TOKEN_FILE=str(tmp_path / "token"),
        CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED="false",
    )
    assert "CONSOUL_OBSERVABILITY_PROMETHEUS_ENABLED" in problem


def test_settings_cross_process_boundaries_and_cannot_be_changed() -> None:
    settings = load_settings({"REDIS_URL": REDIS, "CONSOUL_API_KEYS": "a"})
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_api_and_metrics_cannot_share_a_port() -> None:
    (problem,) = problems_of(CONSOUL_PORT="9090")
    assert problem.startswith("CONSOUL_OBSERVABILITY_METRICS_PORT")


def test_custom_profile_needs_its_numbers() -> None:
    (problem,) = problems_of(MOCK_PROVIDER_PROFILE="custom")
    assert "MOCK_PROVIDER_CUSTOM" in problem
    given = '{"total_s": [0.1, 0.2], "first_token_share": 0.5, "tokens": [1, 9]}'
    settings = load_settings({"MOCK_PROVIDER_PROFILE": "custom", "MOCK_PROVIDER_CUSTOM": given})
    assert settings.provider_custom == LatencyProfile((0.1, 0.2), 0.5, (1, 9))
