"""The control plane over HTTP, as WSGI: who may, which path, how large; and the one error shape."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from mock_server.control.plane import ControlPlane
from mock_server.control.token import ControlToken
from mock_server.control.wire import PATH_LIMIT_BYTES, is_too_long
from mock_server.control.workers import Workers
from mock_server.core.models import PROVIDERS
from mock_server.errors import (
    ForeignOriginError,
    InternalError,
    InvalidControlTokenError,
    InvalidJsonError,
    MethodNotAllowedError,
    MetricsFolderError,
    NotFoundError,
    OtherClientError,
    RequestError,
    RequestTimeoutError,
    RequestTooLargeError,
    build_body,
    build_headers,
    status_of,
)
from mock_server.services.consoul.providers import initial_config
from mock_server.settings import Settings

PREFIX = "/_mock"
BODY_LIMIT_BYTES = 65_536
# Of a body that is too large so much is read all the same: a client that still sends would not see the answer.
_DISCARD_BYTES = 1_048_576
_log = logging.getLogger(__name__)

# Path → method → what is called with (plane, query, body).
Call = Callable[[ControlPlane, str, bytes], dict[str, Any]]
ROUTES: dict[str, dict[str, Call]] = {
    "/_mock/provider": {
        "GET": lambda plane, query, body: plane.read_provider(),
        "PATCH": lambda plane, query, body: plane.change_provider(_decode(body)),
        "DELETE": lambda plane, query, body: plane.reset_provider(),
    },
    "/_mock/ledger": {
        "GET": lambda plane, query, body: plane.read_ledger(query),
        "DELETE": lambda plane, query, body: plane.clear_ledger(),
    },
    "/_mock/workers": {"GET": lambda plane, query, body: plane.list_workers()},
    "/_mock/breakers/reset": {"POST": lambda plane, query, body: plane.reset_breakers()},
}


class Control:
    """A control plane and the token that opens it."""

    def __init__(self, plane: ControlPlane, token: ControlToken):
        self.plane = plane
        self._token = token

    def authorize(self, header: str) -> None:
        """Raises InvalidControlTokenError unless the header is `Bearer` and the token."""
        scheme, _, given = header.partition(" ")
        if scheme.lower() != "bearer" or not self._token.is_token(given.strip()):
            raise InvalidControlTokenError


def create_control(
    token: ControlToken, folder: Path, pids: Callable[[], Mapping[int, int]], settings: Settings
) -> Control:
    """Returns the control plane of the workers whose sockets are in `folder`; raises MetricsFolderError for a path
    that is too long for a socket.
    """
    if is_too_long(folder):
        raise MetricsFolderError(
            f"{folder}: its path is too long for the sockets of the control plane, which may have {PATH_LIMIT_BYTES} "
            "bytes; set TMPDIR to a folder with a shorter path, or MOCK_CONTROL_ENABLED=false"
        )
    initial = {name: initial_config(name, settings) for name in PROVIDERS}
    return Control(ControlPlane(Workers(folder, pids), initial), token)


def split_control(metrics: WSGIApplication, control: Control | None) -> WSGIApplication:
    """Returns the application of the metrics port: the control plane under its prefix, metrics everywhere else.

    Without `control` it is off, and its paths do not exist.
    """

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == PREFIX or path.startswith(PREFIX + "/"):
            return _respond(environ, start_response, control)
        return metrics(environ, start_response)

    return app


def _respond(environ: WSGIEnvironment, start_response: StartResponse, control: Control | None) -> Iterable[bytes]:
    status, answer, headers = _answer(environ, control)
    body = json.dumps(answer).encode() + b"\n"
    fixed = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(f"{status} {HTTPStatus(status).phrase}", fixed + headers)
    return [body]


def _answer(environ: WSGIEnvironment, control: Control | None) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
    try:
        return 200, _handle(environ, control), []
    except RequestError as caught:
        error = caught
    except Exception:  # noqa: BLE001 - logged and answered; nothing above could
        _log.exception("A request to the control plane failed.")
        error = InternalError()
    headers = [(name.decode("ascii").title(), value.decode("ascii")) for name, value in build_headers(error)]
    return status_of(error), build_body(error, time.time()), headers


def _handle(environ: WSGIEnvironment, control: Control | None) -> dict[str, Any]:
    # Read before anything is refused: unread, it would reset the connection under the answer.
    body = _read_body(environ)
    if control is None:
        raise NotFoundError("The control plane is off; MOCK_CONTROL_ENABLED=true turns it on.")
    if "HTTP_ORIGIN" in environ:
        raise ForeignOriginError
    control.authorize(environ.get("HTTP_AUTHORIZATION", ""))
    methods = ROUTES.get(environ["PATH_INFO"])
    if methods is None:
        raise NotFoundError(f"There is nothing at this path; there are {', '.join(ROUTES)}.")
    call = methods.get(environ["REQUEST_METHOD"])
    if call is None:
        raise MethodNotAllowedError(headers=[(b"allow", ", ".join(methods).encode())])
    return call(control.plane, environ.get("QUERY_STRING", ""), body)


def _read_body(environ: WSGIEnvironment) -> bytes:
    length = environ.get("CONTENT_LENGTH") or "0"
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise OtherClientError(411, "Send the body with Content-Length.")
    if not (length.isascii() and length.isdigit()):
        raise OtherClientError(400, "Content-Length is not a number.")
    size_bytes = int(length[:18])
    try:
        body: bytes = environ["wsgi.input"].read(min(size_bytes, _DISCARD_BYTES))
    except TimeoutError:
        raise RequestTimeoutError from None
    if size_bytes > BODY_LIMIT_BYTES:
        raise RequestTooLargeError(details={"limit_bytes": BODY_LIMIT_BYTES})
    return body


def _decode(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidJsonError from None
