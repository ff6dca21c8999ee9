"""A tiny target with a count of its own: answers every path but /count with a chat reply."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_served = {"requests": 0, "sessions": 0}
_sessions: set[str] = set()
_keep_sessions = os.environ.get("TARGET_KEEP_SESSIONS") == "1"
_every_nth_fails = int(os.environ.get("TARGET_EVERY_NTH_FAILS", "0"))
_latency_s = float(os.environ.get("TARGET_LATENCY_S", "0"))
_wanted_key = os.environ.get("TARGET_WANTED_KEY", "").encode()
_REPLY = b'{"session_id":"s","response":"hello","model":"m"}'


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Counts and answers; every TARGET_EVERY_NTH_FAILS-th is an injected 500; without TARGET_WANTED_KEY a 401."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    status, headers, reply = 200, [(b"content-type", b"application/json")], _REPLY
    if scope["path"] == "/count":
        reply = json.dumps(_served | {"sessions": len(_sessions)}).encode()
    else:
        _served["requests"] += 1
        if _latency_s:
            await asyncio.sleep(_latency_s)
        if _keep_sessions:
            _sessions.add(json.loads(body)["session_id"])
        if _wanted_key and (b"x-api-key", _wanted_key) not in scope["headers"]:
            status, reply = 401, b'{"error":"key"}'
        if _every_nth_fails and _served["requests"] % _every_nth_fails == 0:
            status, reply = 500, b'{"error":"injected"}'
            headers.append((b"x-mock-fault", b"error"))
    headers.append((b"content-length", str(len(reply)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reply})


def main() -> None:
    """Serves on a free port and prints it; a socket made as TCP does not hold small writes back."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
