"""What was asked for ahead of its turn and is not wanted leaves nothing behind."""

import asyncio
import gc
from typing import Any

import pytest

from mock_server.errors import StorageUnavailableError
from mock_server.state.sessions import forget


@pytest.mark.parametrize("outcome", ["none yet", "a reply", "a failure", "cancelled"])
async def test_nothing_is_told_of_what_was_forgotten(outcome: str) -> None:
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    ahead: asyncio.Future[Any] = loop.create_future()
    if outcome == "a reply":
        ahead.set_result(b"x")
    elif outcome == "a failure":
        ahead.set_exception(StorageUnavailableError())
    elif outcome == "cancelled":
        ahead.cancel()
    forget(ahead)
    assert ahead.done()
    del ahead
    gc.collect()
    assert not told
    forget(None)
