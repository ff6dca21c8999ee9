import pytest

from mock_server.core.strict_json import find_flaw


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]}',
        b'{"a":"\\ud83d\\ude00 \\"a\\": \\"a\\""}',
        b'{"a":1e308,"b":-0.0,"c":12345678901234567890,"d":null}',
        '{"a":"é\U0001f600"}'.encode(),
        b'"\\\\ud800"',
    ],
)
def test_what_json_allows_passes(body: bytes) -> None:
    assert find_flaw(body) is None


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        (b'{"a":1,"a":1}', "a key occurs twice"),
        (b'{"a":1,"\\u0061":1}', "a key occurs twice"),
        (b'[[{"x":{"a":1,"b":2,"a":3}}]]', "a key occurs twice"),
        (b'{"a":NaN}', "not a number of JSON"),
        (b'{"a":-Infinity}', "not a number of JSON"),
        (b'{"a":1e400}', "a number out of range"),
        (b'{"a":-1e400}', "a number out of range"),
        (b'{"a":["\\ud800"]}', "half of a surrogate pair"),
        (b'{"\\uDFFF":1}', "half of a surrogate pair"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a":' + b"9" * 5_000 + b"}", "not JSON, or a number of too many digits"),
        (b"{", "not JSON, or a number of too many digits"),
    ],
)
def test_each_flaw_is_named(body: bytes, flaw: str) -> None:
    assert find_flaw(body) == flaw
