"""A client that leaves or does not read ends the work for it, and nothing else does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mock_server.asgi import ClientGoneError
from mock_server.services.consoul.client_watch import ClientWatch
from mock_server.services.consoul.events import EventStream, build_event, build_token
from tests.unit.mock_server.virtual_time import read_clock, run_virtually


async def stay() -> Any:
    await asyncio.sleep(1000.0)


async def leave() -> Any:
    await asyncio.sleep(1.0)
    return {"type": "http.disconnect"}


async def watch(receive: Callable[[], Awaitable[Any]], work: Awaitable[Any]) -> Any:
    async with ClientWatch(receive):
        return await work


def test_work_that_ends_in_time_is_left_alone() -> None:
    async def main() -> str:
        result = await watch(stay, asyncio.sleep(0.5, "done"))
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        return str(result)

    assert run_virtually(main()) == "done"


def test_a_client_that_leaves_ends_the_work() -> None:
    async def main() -> None:
        with pytest.raises(ClientGoneError):
            await watch(leave, asyncio.sleep(5.0))
        assert read_clock() == 1.0
        # The task itself was not cancelled: it can go on.
        await asyncio.sleep(1.0)
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run_virtually(main())


def test_errors_of_the_work_pass() -> None:
    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise ValueError("broken")

    async def main() -> None:
        with pytest.raises(ValueError, match="broken"):
            await watch(leave, fail())

    run_virtually(main())


@pytest.mark.parametrize("also_leaves", [False, True])
def test_a_server_that_ends_is_no_client_that_left(also_leaves: bool) -> None:
    async def main() -> None:
        task = asyncio.create_task(watch(leave if also_leaves else stay, asyncio.sleep(5.0)))
        await asyncio.sleep(0.999)
        if also_leaves:
            asyncio.get_running_loop().call_later(0.001, task.cancel)
        else:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtually(main())


def test_a_send_that_hangs_is_noticed_on_time_and_once() -> None:
    async def main() -> None:
        noticed: list[float] = []

        async def send(message: Any) -> None:
            if message.get("body") == build_token("two "):
                await asyncio.sleep(100.0)

        stream = EventStream(send, [], 5.0, lambda: noticed.append(read_clock()))
        await asyncio.sleep(3.0)
        await stream.emit(["one "])
        await asyncio.sleep(20.0)
        assert not noticed, "between sends nobody waits for the client"
        hanging = asyncio.create_task(stream.emit(["two "]))
        await asyncio.sleep(50.0)
        assert noticed == [pytest.approx(28.0)]
        hanging.cancel()
        stream.close()

    run_virtually(main())


def test_a_client_that_does_not_even_take_the_head_is_noticed() -> None:
    async def main() -> None:
        noticed: list[float] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(100.0)

        stream = EventStream(send, [], 5.0, lambda: noticed.append(read_clock()))
        hanging = asyncio.create_task(stream.emit(["one "]))
        await asyncio.sleep(50.0)
        assert noticed == [pytest.approx(5.0)]
        hanging.cancel()
        stream.close()

    run_virtually(main())


def test_events_hold_one_line_of_data() -> None:
    assert (
        build_event("token", {"text": "a\nb\r\u2028"}) == 'event: token\ndata: {"text":"a\\nb\\r\u2028"}\n\n'.encode()
    )
