"""The least an ASGI server can do: one constant answer of 15 bytes, as the yardstick of the mock's speed."""

import argparse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from mock_server.protocol.http import ConsoulHttpProtocol

BODY = b'{"status":"ok"}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"15")],
}
_END = {"type": "http.response.body", "body": BODY}


async def app(
    scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answers every request without reading it."""
    if scope["type"] != "http":
        return
    await send(_START)
    await send(_END)


def main() -> None:
    """Serves on the port given, with the uvicorn settings of the mock's workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=["httptools", "mock"], default="httptools")
    given = parser.parse_args()
    uvicorn.run(
        app,
        port=given.port,
        loop="uvloop",
        http=ConsoulHttpProtocol if given.protocol == "mock" else "httptools",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
    )


if __name__ == "__main__":
    main()
