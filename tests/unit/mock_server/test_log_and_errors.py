import json
import logging

import pytest

from mock_server import errors
from mock_server.errors import RequestError, build_body, build_headers, format_time
from mock_server.log import JsonFormatter


def render(message: str, *arguments: object, **extra: object) -> str:
    record = logging.LogRecord("mock", logging.WARNING, "file", 1, message, arguments, None)
    record.__dict__.update(extra)
    return JsonFormatter().format(record)


@pytest.mark.parametrize("hostile", ["a\r\nb", "\x1b[31mred", '"},{"level":"fake"', "\u2028\u2029", "\ud800"])
def test_e16_every_record_is_one_line_of_json(hostile: str) -> None:
    line = render("got %s", hostile, request_id=hostile)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == f"got {hostile}"
    assert json.loads(line)["request_id"] == hostile


def test_record_says_when_and_how_bad() -> None:
    entry = json.loads(render("x"))
    assert (entry["level"], entry["logger"]) == ("warning", "mock")
    assert entry["time"].endswith("+00:00")


def all_errors(base: type[RequestError] = RequestError) -> list[type[RequestError]]:
    return [base, *(found for child in base.__subclasses__() for found in all_errors(child))]


def test_codes_and_names_are_one_to_one() -> None:
    own = [
        kind for kind in all_errors() if kind.__module__ == errors.__name__ and kind is not errors.OtherClientError
    ]
    assert len({kind.code for kind in own}) == len({kind.error for kind in own}) == len(own)


def test_codes_of_the_contract_stand_for_what_it_says() -> None:
    named = {kind.code: kind.error for kind in all_errors()}
    assert named["E006"] == "request_too_large"
    assert named["E011"] == "invalid_api_key"
    assert named["E020"] == "rate_limited"
    assert named["E110"] == "session_storage_unavailable"
    assert named["E206"] == "circuit_open"
    assert named["E207"] == "circuit_half_open_full"
    assert named["E900"] == "internal_error"


@pytest.mark.parametrize(("exact_s", "header"), [(0.001, b"1"), (1.0, b"1"), (8.2, b"9"), (60.0, b"60")])
def test_retry_after_is_exact_in_the_body_and_rounded_up_in_the_header(exact_s: float, header: bytes) -> None:
    error = errors.RateLimitedError(retry_after_s=exact_s)
    assert build_body(error, 0.0)["retry_after"] == exact_s
    assert build_headers(error) == [(b"retry-after", header)]


def test_time_is_iso_8601_in_utc_with_microseconds() -> None:
    assert format_time(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"
    assert format_time(1_700_000_001.5) == "2023-11-14T22:13:21.500000Z"
