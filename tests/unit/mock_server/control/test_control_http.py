import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mock_server.control.http import BODY_LIMIT_BYTES, create_control, split_control
from mock_server.control.token import ControlToken, parse_token
from mock_server.control.wire import read_desired
from mock_server.environment import load_settings
from mock_server.errors import MetricsFolderError

TOKEN = "canary-token-0123456789"
SHAPE = {"code", "error", "message", "recoverable", "retry_after", "details", "timestamp"}


def metrics(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"metrics"]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class Port:
    """The metrics port without a socket: WSGI calls on a control plane that has no workers yet."""

    def __init__(self, folder: Path, is_on: bool = True, **variables: str):
        token = parse_token(TOKEN.encode())
        assert isinstance(token, ControlToken)
        control = create_control(token, folder, lambda: {0: 1}, load_settings(variables)) if is_on else None
        self._app = split_control(metrics, control)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        token: str | None = TOKEN,
        query: str = "",
        stream: io.BytesIO | None = None,
        **more: str,
    ) -> Answer:
        started: list[Any] = []
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": stream or io.BytesIO(body),
        }
        if token is not None:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        raw = b"".join(self._app(environ | more, lambda *args: started.extend(args)))  # type: ignore[arg-type]
        status, headers = started
        return Answer(int(status[:3]), {name.lower(): value for name, value in headers}, raw)


@pytest.fixture
def port(tmp_path: Path) -> Port:
    return Port(tmp_path)


@pytest.mark.parametrize("path", ["/_mock", "/_mock/", "/_mock/provider", "/_mock/x/y"])
def test_off_means_that_its_paths_do_not_exist(tmp_path: Path, path: str) -> None:
    answer = Port(tmp_path, is_on=False)("GET", path)
    assert (answer.status, answer.body["code"], set(answer.body)) == (404, "E004", SHAPE)


@pytest.mark.parametrize("path", ["/", "/metrics", "/_mocker", "/_moc", "/x/_mock/provider"])
def test_every_other_path_is_metrics(port: Port, path: str) -> None:
    assert port("GET", path, token=None).raw == b"metrics"


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "0", TOKEN[:-1]])
@pytest.mark.parametrize("path", ["/_mock/provider", "/_mock/nothing"])
def test_without_the_token_nothing_is_told(port: Port, token: str | None, path: str) -> None:
    answer = port("PATCH", path, b'{"capacity": 1}', token)
    assert (answer.status, answer.body["code"], set(answer.body)) == (401, "E013", SHAPE)
    assert answer.headers["www-authenticate"] == 'Bearer realm="mock-control"'
    assert port("GET", "/_mock/provider").body["revision"] == 0


@pytest.mark.parametrize("header", [TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}", "Bearer"])
def test_another_scheme_is_no_token(port: Port, header: str) -> None:
    assert port("GET", "/_mock/provider", token=None, HTTP_AUTHORIZATION=header).status == 401


def test_the_scheme_may_be_written_in_any_case(port: Port) -> None:
    assert port("GET", "/_mock/provider", token=None, HTTP_AUTHORIZATION=f"bearer {TOKEN}").status == 200


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9090", "null", ""])
def test_a_page_in_a_browser_is_refused_even_with_the_token(port: Port, origin: str) -> None:
    answer = port("GET", "/_mock/provider", HTTP_ORIGIN=origin)
    assert (answer.status, answer.body["code"]) == (403, "E014")
    assert port("OPTIONS", "/_mock/provider", token=None, HTTP_ORIGIN=origin).status == 403


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/_mock/provider", "GET, PATCH, DELETE"),
        ("POST", "/_mock/ledger", "GET, DELETE"),
        ("HEAD", "/_mock/workers", "GET"),
        ("GET", "/_mock/breakers/reset", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(port: Port, method: str, path: str, allow: str) -> None:
    answer = port(method, path)
    assert (answer.status, answer.body["code"], answer.headers["allow"]) == (405, "E005", allow)


def test_an_unknown_path_is_told_the_known_ones(port: Port) -> None:
    answer = port("GET", "/_mock/providers")
    assert answer.status == 404
    assert "/_mock/provider," in answer.body["message"]


def test_a_change_is_kept_for_workers_that_start_later(port: Port, tmp_path: Path) -> None:
    assert read_desired(tmp_path) is None
    answer = port("PATCH", "/_mock/provider", b'{"profile": "gpt-4", "providers": ["openai"]}')
    assert (answer.status, answer.body["confirmed"], answer.body["starting"]) == (200, [], [0])
    assert answer.body == port("GET", "/_mock/provider").body | {"confirmed": [], "starting": [0]}
    assert {name: state["profile"] for name, state in answer.body["providers"].items()} == {
        "openai": "gpt-4",
        "anthropic": "instant",
        "ollama": "instant",
    }
    desired = read_desired(tmp_path)
    assert desired is not None
    assert (desired.revision, desired.configs["openai"].latency.total_s) == (1, (2.0, 10.0))


def test_changes_add_up_and_deleting_them_goes_back_to_the_settings(tmp_path: Path) -> None:
    port = Port(tmp_path, MOCK_PROVIDER_PROFILE="cached", ANTHROPIC_TIMEOUT="7")
    first = port("GET", "/_mock/provider").body
    assert first["providers"]["anthropic"]["timeout_s"] == 7
    port("PATCH", "/_mock/provider", b'{"failure_ratio": 0.5}')
    changed = port("PATCH", "/_mock/provider", b'{"capacity": 120, "batch_size": 4}').body
    assert changed["revision"] == 2
    kept = {"failure_ratio": 0.5, "capacity": 120, "batch_size": 4, "profile": "cached"}
    assert changed["providers"]["openai"].items() >= kept.items()
    back = port("DELETE", "/_mock/provider").body
    assert (back["revision"], back["providers"]) == (3, first["providers"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "E002"),
        (b"{", 400, "E002"),
        (b"\xff", 400, "E002"),
        (b"[" * 30_000, 400, "E002"),
        (b"[]", 422, "E003"),
        (b'{"profile": "custom"}', 422, "E003"),
        (b'{"failure_ratio": NaN}', 422, "E003"),
        (b'{"failure_ratio": 0.1, "speed": 1}', 422, "E003"),
        (b" " * (BODY_LIMIT_BYTES + 1), 413, "E006"),
    ],
)
def test_a_wrong_body_changes_nothing(port: Port, tmp_path: Path, body: bytes, status: int, code: str) -> None:
    answer = port("PATCH", "/_mock/provider", body)
    assert (answer.status, answer.body["code"], set(answer.body)) == (status, code, SHAPE)
    assert port("GET", "/_mock/provider").body["revision"] == 0
    assert read_desired(tmp_path) is None


def test_a_body_of_the_largest_size_is_read(port: Port) -> None:
    body = b'{"capacity": 1}'.ljust(BODY_LIMIT_BYTES)
    assert port("PATCH", "/_mock/provider", body).status == 200


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"CONTENT_LENGTH": "-1"}, 400),
        ({"CONTENT_LENGTH": "x"}, 400),
        ({"CONTENT_LENGTH": "9" * 1000}, 413),
    ],
)
def test_a_body_of_no_stated_length_is_refused(port: Port, more: dict[str, str], status: int) -> None:
    answer = port("PATCH", "/_mock/provider", b'{"capacity": 1}', stream=None, **more)
    assert (answer.status, set(answer.body)) == (status, SHAPE)


def test_a_body_that_stops_coming_is_given_up(port: Port) -> None:
    class Stalled(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise TimeoutError

    answer = port("PATCH", "/_mock/provider", stream=Stalled())
    assert (answer.status, set(answer.body)) == (408, SHAPE)


def test_a_wrong_query_is_refused(port: Port) -> None:
    assert port("GET", "/_mock/ledger", query="limit=0").status == 422
    assert port("GET", "/_mock/ledger", query="limit=1").body == {
        "entries": [],
        "next": "",
        "is_complete": True,
        "rings": [],
    }


def test_a_bug_is_answered_in_the_same_shape_and_logged(
    port: Port, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "control-x.sock").touch()
    answer = port("GET", "/_mock/workers")
    assert (answer.status, answer.body["code"]) == (500, "E900")
    assert "ValueError" in caplog.text


def test_the_token_is_in_no_answer_and_no_record(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for method in ("GET", "PATCH", "DELETE", "PUT"):
        for path in ("/_mock/provider", "/_mock/ledger", "/_mock/workers", "/_mock/breakers/reset", "/_mock/x"):
            for token in (TOKEN, TOKEN + "x"):
                assert TOKEN.encode() not in port(method, path, b"{}", token).raw
    assert TOKEN not in caplog.text


def test_a_folder_too_deep_for_sockets_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(MetricsFolderError, match=r"too long for the sockets .* set TMPDIR"):
        Port(tmp_path / ("d" * 100))
