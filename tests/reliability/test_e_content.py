"""Group E, what the bytes say: JSON, fields, keys, paths and texts that end up in a log."""

import ast
import json
import random
import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mock.conftest import ROOT, Mock, RedisServer, StartMock, stores, wait_until
from tests.reliability.conftest import Measure
from tests.reliability.raw_http import SHAPE, RawAnswer, build_request, exchange, exchange_many
from tests.reliability.raw_websocket import RawWebSocket

# What a request of each endpoint looks like; `$` marks a value that holds a text of the client.
BODIES = {
    "/chat": b'{"session_id":"a","message":$}',
    "/chat/stream": b'{"session_id":"a","message":$}',
    "/chat/batch": b'{"session_id":"a","messages":[{"role":"user","content":$}]}',
}


def endpoints(mock: Mock) -> dict[str, bytes]:
    """Returns the bodies of the endpoints the mock has."""
    paths = mock.request("GET", "/openapi.json").body["paths"]
    found = {path: body for path, body in BODIES.items() if path in paths}
    assert set(found) == {path for path, methods in paths.items() if "post" in methods}
    return found


def hostile_bodies(template: bytes) -> dict[str, bytes]:
    deep = b"[" * 10_000 + b"]" * 10_000
    text = template.replace(b"$", b'"hello"')
    return {
        "depth 10,000 in a field": template.replace(b"$", deep),
        "depth 10,000 beside the fields": text[:-1] + b',"x":' + deep + b"}",
        "depth 10,000, no object": deep,
        "depth 10,000, never closed": b'{"a":' * 10_000,
        "1e400 in a field": template.replace(b"$", b"1e400"),
        "1e400 beside the fields": text[:-1] + b',"x":1e400}',
        "NaN in a field": template.replace(b"$", b"NaN"),
        "NaN beside the fields": text[:-1] + b',"x":[NaN]}',
        "Infinity": text[:-1] + b',"x":-Infinity}',
        "key twice": text[:-1] + b',"session_id":"other-1"}',
        "key twice, escaped": text[:-1] + b',"session\\u005fid":"other-2"}',
        "unknown key twice": text[:-1] + b',"x":1,"x":2}',
        "key twice, deep": text[:-1] + b',"x":[{"y":1,"y":2}]}',
        "lone surrogate": template.replace(b"$", b'"\\ud800"'),
        "lone low surrogate": template.replace(b"$", b'"a\\udc00b"'),
        "lone surrogate beside the fields": text[:-1] + b',"x":["\\ud800"]}',
        "lone surrogate in a key": text[:-1] + b',"\\udfff":1}',
        "not UTF-8": template.replace(b"$", b'"\xff\xfe"'),
        "not UTF-8 beside the fields": text[:-1] + b',"x":"\xc0\x80"}',
        "number of 100,000 digits": text[:-1] + b',"x":' + b"9" * 100_000 + b"}",
        "UTF-16": text.decode().encode("utf-16"),
        "bytes after the end": text + b"x",
        "nothing": b"",
        "null": b"null",
    }


def test_e09_hostile_json(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    statuses: Counter[int] = Counter()
    served = []
    for path, template in endpoints(mock).items():
        for name, body in hostile_bodies(template).items():
            answer = exchange(mock.port, build_request("POST", path, body))
            statuses[answer.status] += 1
            if answer.status in (400, 422):
                assert set(answer.json()) == SHAPE
            else:
                served.append(f"{path}: {name}: {answer.status}")
        assert exchange(mock.port, build_request("POST", path, template.replace(b"$", b'"a\\"b"'))).status == 200
    measure("400/422", f"of {statuses.total()} bodies: {statuses[400]} x 400, {statuses[422]} x 422")
    assert served == []
    assert mock.sample("consoul_sessions_created_total") <= 2
    assert "Traceback" not in mock.log.read_text()


def build_foreign_id(rng: random.Random) -> str:
    """Returns a text that is no session id: too long, empty, or with a character outside the alphabet."""
    allowed = string.ascii_letters + string.digits + "._:-"
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choices(allowed, k=rng.randrange(129, 400)))
    if kind == 1:
        return rng.choice(["", "\n", " ", "\0", "a\n", "*", "a b", "a/b", "..\\", "{}", "ａ", "é"])
    others = [chr(code) for code in range(128) if chr(code) not in allowed] + ["é", "\u2028", "\U0001f600", "ａ", "١"]
    characters = [*rng.choices(allowed, k=rng.randrange(1, 120)), rng.choice(others)]
    rng.shuffle(characters)
    return "".join(characters)


@pytest.mark.slow
def test_e10_fuzzed_session_ids(start_mock: StartMock, redis_server: RedisServer, measure: Measure) -> None:
    mock = start_mock(**stores(redis_server))
    rng = random.Random(10)
    ids = [build_foreign_id(rng) for _ in range(10_000)]
    paths = list(endpoints(mock))
    requests = []
    for number, session_id in enumerate(ids):
        path = paths[number % len(paths)]
        body: dict[str, Any] = {
            "session_id": session_id,
            "message": "m",
            "messages": [{"role": "user", "content": "c"}],
        }
        requests.append(build_request("POST", path, json.dumps(body).encode()))
    statuses: Counter[int] = Counter()
    for session_id, answer in zip(ids, exchange_many(mock.port, requests), strict=True):
        statuses[answer.status] += 1
        assert [problem["field"] for problem in answer.json()["details"]] == ["session_id"]
        assert len(session_id) < 20 or session_id not in answer.json()["message"] + str(answer.json()["details"])
    keys = [redis_server.client(database).dbsize() for database in (0, 1)]
    measure("422 each, 0 Redis keys", f"{statuses[422]} of {len(ids)} are 422; Redis keys: {keys}")
    assert statuses == {422: 10_000}
    assert keys == [0, 0]


def test_e11_session_of_another_key(start_mock: StartMock, redis_server: RedisServer, measure: Measure) -> None:
    mock = start_mock(CONSOUL_API_KEYS="key-one,key-two", **stores(redis_server))

    def ask(key: str, path: str, session_id: str) -> RawAnswer:
        body = BODIES[path].replace(b"$", b'"hello"').replace(b'"a"', json.dumps(session_id).encode(), 1)
        return exchange(mock.port, build_request("POST", path, body, [f"X-API-Key: {key}"]))

    paths = list(endpoints(mock))
    assert ask("key-one", "/chat", "first").status == 200
    assert ask("key-one", "/chat", "second").status == 200
    held = dump(redis_server)
    refused = [
        ask("key-two", path, session_id)
        for path in paths
        if path != "/chat/batch"
        for session_id in ("first", "second")
    ]
    bodies = {json.dumps(answer.json() | {"timestamp": ""}, sort_keys=True) for answer in refused}
    learnt = {
        word for answer in refused for word in ("first", "second", "hello", "gpt", "key-one") if word in str(answer)
    }
    assert {answer.status for answer in refused} == {404}
    assert {answer.json()["code"] for answer in refused} == {"E012"}
    if "/chat/batch" in paths:
        batch = ask("key-two", "/chat/batch", "first").body
        assert b"E012" in batch
        assert b"response" not in batch.replace(b'"response":null', b"")
    assert dump(redis_server) == held
    assert ask("key-one", "/chat", "first").json()["usage"]["input_tokens"] > 1
    measure(
        "404, learns nothing", f"{len(refused)} x 404 E012, all alike; words learnt: {len(learnt)}; nothing changed"
    )
    assert len(bodies) == 1
    assert learnt == set()


def dump(server: RedisServer) -> dict[bytes, bytes | None]:
    """Returns every key of the sessions' database with its content."""
    with server.client() as client:
        return {key: client.dump(key) for key in client.scan_iter()}


_SECRET = re.compile(r"(digest|secret|password|api_key|credential)s?$", re.IGNORECASE)
# Named like one and none: what the lab was started with.
_NO_SECRETS = frozenset({"settings_digest"})
_PREFIX_LOOKUPS = frozenset({"startswith", "endswith", "find", "index", "removeprefix"})


def find_secret_comparisons(source: str) -> list[str]:
    """Returns the lines that compare or search what is named like a secret otherwise than by `compare_digest`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            for operator, left, right in zip(
                node.ops, [node.left, *node.comparators], node.comparators, strict=False
            ):
                is_none = isinstance(right, ast.Constant) and right.value is None
                if not is_none and not isinstance(operator, ast.Is | ast.IsNot) and names_secret(left, right):
                    found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _PREFIX_LOOKUPS and names_secret(node.func.value):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Match) and names_secret(node.subject):
            found.append(ast.unparse(node.subject))
    return found


def names_secret(*nodes: ast.AST) -> bool:
    """Returns whether any of the expressions is, by its name, a secret; its length is none."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                names.add(part.id)
            elif isinstance(part, ast.Attribute):
                names.add(part.attr)
    return any(_SECRET.search(name) for name in names - _NO_SECRETS)


@pytest.mark.parametrize(
    "source",
    [
        "digest == known",
        "x.api_key != y",
        "digest in known_digests",
        "sha256(key).hexdigest() == stored",
        "api_key.startswith(prefix)",
        "match digest:\n    case 'a': pass",
    ],
)
def test_the_source_test_finds_what_it_forbids(source: str) -> None:
    assert find_secret_comparisons(source)


def test_e12_keys_are_compared_in_constant_time(start_mock: StartMock, measure: Measure) -> None:
    sources = sorted((ROOT / "mock_server").rglob("*.py"))
    found = {str(path): lines for path in sources if (lines := find_secret_comparisons(path.read_text()))}
    identity = (ROOT / "mock_server/core/identity.py").read_text()
    mock = start_mock(CONSOUL_API_KEYS="right-key-1,right-key-2")
    statuses: dict[str, int] = {}
    for key in ("right-key-1", "right-key-2", "right-key-", "right-key-11", "right", "RIGHT-KEY-1", "", "*"):
        body = json.dumps({"session_id": f"session-{len(statuses)}", "message": "m"}).encode()
        statuses[key] = exchange(mock.port, build_request("POST", "/chat", body, [f"X-API-Key: {key}"])).status
    refused = list(statuses.values()).count(401)
    measure(
        "compare_digest on fixed-length digests, no ==, no prefix",
        f"{len(sources)} sources, {len(found)} other comparisons; near keys: {refused} x 401",
    )
    assert found == {}
    assert "hmac.compare_digest(" in identity
    assert [key for key, status in statuses.items() if status == 200] == ["right-key-1", "right-key-2"]
    assert refused == 6


TOO_MUCH: list[tuple[str, dict[str, Any]]] = [
    ("/chat", {"message": "m" * 32_769}),
    ("/chat", {"model": "m" * 65}),
    ("/chat", {"session_id": "s" * 129}),
    ("/chat/stream", {"message": "m" * 32_769}),
    ("/chat/batch", {"messages": [{"role": "user", "content": "c"}] * 11}),
    ("/chat/batch", {"messages": []}),
    ("/chat/batch", {"messages": [{"role": "user", "content": "c" * 32_769}]}),
]
CHANGES: list[dict[str, Any]] = [
    {"failure_ratio": 1.1},
    {"failure_ratio": -0.1},
    {"capacity": -1},
    {"batch_size": 0},
    {"custom": {"total_s": [-1, 1], "first_token_share": 0.5, "tokens": [1, 2]}},
    {"custom": {"total_s": [1, 1e9], "first_token_share": 0.5, "tokens": [1, 2]}},
    {"custom": {"total_s": [1, 2], "first_token_share": 0.5, "tokens": [1, 10**9]}},
    {"max_tokens": 10**9},
]


def test_e13_work_asked_for_is_bounded(start_mock: StartMock, tmp_path: Path, measure: Measure) -> None:
    token = "0123456789abcdef-token"
    file = tmp_path / "control-token"
    file.write_text(token)
    file.chmod(0o600)
    mock = start_mock(MOCK_CONTROL_ENABLED="true", MOCK_CONTROL_TOKEN_FILE=str(file))
    paths = endpoints(mock)
    plain: dict[str, Any] = {"session_id": "a", "message": "m", "messages": [{"role": "user", "content": "c"}]}
    asked = [(path, change) for path, change in TOO_MUCH if path in paths]
    statuses = [mock.request("POST", path, plain | change).status for path, change in asked]
    bearer = {"Authorization": f"Bearer {token}"}
    changes = []
    for change in CHANGES:
        request = build_request(
            "PATCH", "/_mock/provider", json.dumps(change).encode(), [f"Authorization: {bearer['Authorization']}"]
        )
        changes.append(exchange(mock.metrics_port, request).status)
    # A field that is not in the contract is passed over: it asks for nothing.
    greedy = plain | {"max_tokens": 10**9, "n": 10**6, "delay_s": 1e6, "failure_ratio": 1}
    answer = mock.request("POST", "/chat", greedy | {"session_id": "greedy"})
    measure(
        "422 out of range, work bounded",
        f"{statuses.count(422)} of {len(asked)} requests, {changes.count(422)} of {len(CHANGES)} settings are 422; "
        f"max_tokens = 10^9 gives {answer.body['usage']['output_tokens']} tokens in {answer.duration_s:.3f} s",
    )
    assert set(statuses) == {422}
    assert set(changes) == {422}
    assert answer.status == 200
    assert answer.body["usage"]["output_tokens"] <= 100


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW", "get", "X-Y"]


@pytest.mark.slow
def test_e15_unknown_paths_and_methods(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    rng = random.Random(15)
    letters = string.ascii_letters + string.digits + "-_.~%/"

    def random_path() -> str:
        return "/" + re.sub("%", "%25", "".join(rng.choices(letters, k=rng.randrange(1, 60))))

    before = set(mock.scrape())
    paths = [build_request("GET", random_path()) for _ in range(10_000)]
    statuses = Counter(answer.status for answer in exchange_many(mock.port, paths))
    new = set(mock.scrape()) - before
    known = ["/chat", "/health", "/ready", *(f"/{word}" for word in ("nope", "chat/", "health/x"))]
    mixed = [build_request(rng.choice(METHODS), rng.choice([*known, random_path()])) for _ in range(2_000)]
    mixed_statuses = Counter(answer.status for answer in exchange_many(mock.port, mixed, at_once=1))
    labels = {dict(labels)["method"] for name, labels in mock.scrape() if name == "consoul_request_total"}
    measure(
        "405/404, 10,000 random paths: <= 1 new series",
        f"paths: {dict(statuses)}, {len(new)} new; methods: {dict(mixed_statuses)}, {len(labels)} labels",
    )
    assert statuses == {404: 10_000}
    assert len(new) <= 1, new
    assert set(mixed_statuses) <= {200, 404, 405, 422, 400}
    assert labels <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS", "OTHER"}


HOSTILE = [
    "a\r\nb",
    '\x1b[31mred\x1b[0m"',
    '"}\n{"level":"forged"}',
    "\u2028\u2029\x85",
    "\x00\x07",
    "%0d%0aforged",
    "é😀",
]


def test_e16_log_injection(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock(CONSOUL_ACCESS_LOG="true", CONSOUL_LOG_LEVEL="debug", CONSOUL_API_KEYS="key")
    sent = 0
    for text in HOSTILE:
        quoted = json.dumps(text).encode()
        escaped = "".join(f"%{byte:02x}" for byte in text.encode())
        # What cannot stand in a header at all is refused before it gets anywhere, which is logged too.
        raw = text.encode("utf-8").decode("latin-1")
        names = ("X-Request-ID", "X-API-Key", "Authorization", "User-Agent", "Host", "Cookie", "X-Forwarded-For")
        requests = [
            build_request("GET", f"/{escaped}?{escaped}={escaped}"),
            build_request("GET", f"/health?{escaped}"),
        ]
        requests += [build_request("GET", "/health", b"", [f"{name}: {raw}"]) for name in names]
        for path, template in endpoints(mock).items():
            bodies = [template.replace(b"$", quoted), template.replace(b'"a"', quoted).replace(b"$", b'"m"')]
            bodies += [
                template.replace(b"$", b'"m","model":' + quoted),
                template.replace(b"$", b'"m",' + quoted + b":1"),
            ]
            requests += [build_request("POST", path, body, ["X-API-Key: key"]) for body in bodies]
        for request in requests:
            exchange(mock.port, request)
        sent += len(requests)
        with RawWebSocket(mock.port, f"/ws/chat/{escaped}?api_key={escaped}"):
            pass
    marked = build_request("GET", "/health?last-one")
    exchange(mock.port, marked)
    wait_until(lambda: "last-one" in mock.log.read_text(), "the last request is in the log")
    lines = mock.log.read_bytes().split(b"\n")[:-1]
    records = [json.loads(line) for line in lines]
    accesses = [record for record in records if record["logger"] == "uvicorn.access"]
    forged = [record for record in records if record["level"] == "forged" or "logger" not in record]
    measure(
        "1 line per record, always valid JSON",
        f"{len(records)} lines of {sent} requests, all JSON, {len(forged)} forged",
    )
    assert forged == []
    assert len(accesses) >= sent
    for line in lines:
        assert line.isascii()
        assert not re.search(rb"[\x00-\x1f\x7f]", line)
