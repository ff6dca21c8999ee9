"""`run.json`: round trip, strict both ways, and a clear word when a newer one is met."""

import json

import pytest
from pydantic import ValidationError

from loadtests.errors import UsageError
from loadtests.results.model import RunResult, digest_profile
from tests.unit.loadtests.results.simulation import LOAD, build_plan


def test_round_trip_is_equal(result: RunResult) -> None:
    assert RunResult.from_json(result.to_json()) == result
    assert json.loads(result.to_json())["schema_version"] == 1


def test_a_newer_format_is_named_with_what_to_do(result: RunResult) -> None:
    text = result.to_json().replace('"schema_version": 1', '"schema_version": 2')
    with pytest.raises(UsageError, match=r"result format 2 is newer than this version reads \(1\); update"):
        RunResult.from_json(text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 0}, "schema_version"),
        ({"verdict": {"name": "great", "why": "", "next_step": ""}}, "verdict.name"),
        ({"surprise": 1}, "surprise"),
        ({"duration_s": "long"}, "duration_s"),
        ({"ledger": None}, "ledger"),
    ],
)
def test_anything_else_is_refused_and_the_field_named(
    result: RunResult, change: dict[str, object], says: str
) -> None:
    data = {**json.loads(result.to_json()), **change}
    with pytest.raises(UsageError, match=says):
        RunResult.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "{}"])
def test_damaged_text_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        RunResult.from_json(text)


def test_writing_is_strict_too(result: RunResult) -> None:
    with pytest.raises(ValidationError):
        RunResult.model_validate({**result.model_dump(), "duration_s": float("nan")})


def test_rows_are_found_by_scope(result: RunResult) -> None:
    run = result.row()
    assert run is not None
    assert (run.stage, run.request) == (None, None)
    assert result.row("hold", "POST /chat") is not None
    assert result.row("nowhere") is None


def test_equal_profiles_have_equal_digests_and_others_not() -> None:
    first = build_plan().profile
    assert digest_profile(first) == digest_profile(build_plan(dict(reversed(LOAD.items()))).profile)
    assert digest_profile(first) != digest_profile(build_plan({**LOAD, "seed": 2}).profile)
