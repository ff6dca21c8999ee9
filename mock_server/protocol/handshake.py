"""Pure parts of a WebSocket's handshake: the scope of an accepted one, the answer to a refused one."""

import http
from typing import Any
from urllib.parse import unquote

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from mock_server.asgi import Scope
from mock_server.errors import OtherClientError, build_body


def build_scope(request: Request, root_path: str, state: dict[str, Any], extensions: dict[str, Any]) -> Scope:
    """Returns the ASGI scope without addresses."""
    raw_path, _, query = request.path.partition("?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "root_path": root_path,
        "path": root_path + unquote(raw_path),
        "raw_path": (root_path + raw_path).encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.raw_items()
        ],
        "subprotocols": [],
        "state": state.copy(),
        "extensions": extensions,
    }


def build_response(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Returns the whole HTTP answer to a handshake that was refused; the connection closes behind it."""
    found = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    found.setdefault("Content-Length", str(len(body)))
    found["Connection"] = "close"
    return Response(status, http.HTTPStatus(status).phrase, found, body).serialize()


def build_bad_handshake(status: int, wall_s: float) -> bytes:
    """Returns the answer to what is no valid handshake, in the one error shape."""
    body = build_body(OtherClientError(status, "This is not a WebSocket handshake of version 13."), wall_s)
    headers = [(b"content-type", b"application/json"), (b"x-request-id", b"unparsed")]
    if status in (400, 426):
        headers.append((b"sec-websocket-version", b"13"))
    return build_response(status, headers, msgspec.json.encode(body))
