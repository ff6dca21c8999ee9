import asyncio
from typing import Any

import pytest

from mock_server.asgi import Receive, Scope, Send
from mock_server.errors import OverloadedError
from mock_server.middleware.admission import Admission


class Gate:
    """An application whose requests stay until they are let go."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside += 1
        await self.opened.wait()
        self.inside -= 1


async def call(app: Admission, path: str) -> None:
    async def nothing(*_: Any) -> Any:
        return {}

    await app({"type": "http", "path": path}, nothing, nothing)


async def test_refuses_beyond_the_limit_but_never_the_probes() -> None:
    gate = Gate()
    app = Admission(gate, limit=2)
    tasks = [asyncio.create_task(call(app, "/chat")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await call(app, "/chat")
    tasks += [asyncio.create_task(call(app, path)) for path in ("/health", "/ready")]
    await asyncio.sleep(0)
    assert gate.inside == 4
    gate.opened.set()
    await asyncio.gather(*tasks)
    await call(app, "/chat")


async def test_cancelled_requests_give_their_place_back() -> None:
    gate = Gate()
    app = Admission(gate, limit=1)
    task = asyncio.create_task(call(app, "/chat"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gate.opened.set()
    await call(app, "/chat")
