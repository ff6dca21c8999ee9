from typing import Any

import pytest

from mock_server.control.change import parse_change
from mock_server.core.latency import LatencyProfile
from mock_server.core.models import PROVIDERS
from mock_server.errors import InvalidContentError
from mock_server.services.consoul.providers import ProviderChange

CUSTOM = {"total_s": [0.1, 0.4], "first_token_share": 0.2, "tokens": [20, 60]}


def problems_of(given: object) -> list[dict[str, str]]:
    with pytest.raises(InvalidContentError) as caught:
        parse_change(given)
    details: list[dict[str, str]] = caught.value.details
    return details


def test_a_change_names_what_it_sets_and_leaves_the_rest() -> None:
    change, names = parse_change({"failure_ratio": 1, "failure_kind": "timeout", "providers": ["ollama", "ollama"]})
    assert change == ProviderChange(failure_ratio=1.0, failure_kind="timeout")
    assert names == ("ollama",)


def test_without_names_it_is_for_all_providers() -> None:
    assert parse_change({"capacity": 0})[1] == PROVIDERS


@pytest.mark.parametrize("profile", [{}, {"profile": "custom"}])
def test_a_custom_latency_turns_to_itself(profile: dict[str, str]) -> None:
    change, _ = parse_change({"custom": CUSTOM, **profile})
    assert (change.profile, change.custom) == ("custom", LatencyProfile((0.1, 0.4), 0.2, (20, 60)))


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        ([], "body", "write a JSON object"),
        ({}, "body", "changes nothing; give one of profile, custom, failure_ratio"),
        ({"providers": ["openai"]}, "body", "changes nothing"),
        ({"capacity": None}, "body", "changes nothing"),
        ({"capacity": 1, "profil": "gpt-4"}, "profil", "did you mean profile?"),
        ({"capacity": 1, "x" * 1000: 1}, "x" * 64, "no such name; there are profile, "),
        ({"profile": "gpt4"}, "profile", "'gpt-4'"),
        ({"failure_kind": "explode"}, "failure_kind", "'truncated'"),
        ({"failure_ratio": 1.01}, "failure_ratio", "must be a number from 0 to 1"),
        ({"failure_ratio": True}, "failure_ratio", "must be a number from 0 to 1"),
        ({"failure_ratio": "0.5"}, "failure_ratio", "must be a number from 0 to 1"),
        ({"capacity": float("inf")}, "capacity", "must be a number from 0 to 1000000"),
        ({"capacity": float("nan")}, "capacity", "must be a number from 0 to 1000000"),
        ({"batch_size": 0}, "batch_size", "must be a whole number from 1 to 10000"),
        ({"batch_size": 1.5}, "batch_size", "must be a whole number from 1 to 10000"),
        ({"custom": {**CUSTOM, "total_s": [9, 8]}}, "custom", "total_s must satisfy 0 <= low <= high <= 3600"),
        ({"custom": {**CUSTOM, "tokens": [1.5, 2]}}, "custom", "tokens must be whole numbers"),
        ({"custom": {"total_s": [0, 1]}}, "custom", "keys must be first_token_share, tokens, total_s"),
        (
            {"custom": '{"total_s": [0, 1], "first_token_share": 0, "tokens": [1, 1]}'},
            "custom",
            "write a JSON object",
        ),
        ({"custom": 5}, "custom", "write a JSON object"),
        ({"custom": CUSTOM, "profile": "gpt-4"}, "custom", "goes with profile 'custom' only"),
        ({"capacity": 1, "providers": ["openia"]}, "providers", "did you mean openai?"),
        ({"capacity": 1, "providers": []}, "providers", "write a list of one or more of openai, "),
        ({"capacity": 1, "providers": "openai"}, "providers", "write a list"),
        ({"capacity": 1, "providers": [["openai"]]}, "providers", "write a list"),
    ],
)
def test_what_is_wrong_is_named_and_never_repeated(given: Any, field: str, reason: str) -> None:
    (problem,) = problems_of(given)
    assert problem["field"] == field
    assert reason in problem["reason"]
    assert "got" not in problem["reason"]


def test_everything_wrong_comes_at_once() -> None:
    wrong = {"profile": 3, "failure_ratio": -1, "colour": "red", "providers": ["openia", "ollama"]}
    assert {problem["field"] for problem in problems_of(wrong)} == set(wrong)
