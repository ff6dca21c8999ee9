import asyncio
from typing import Any

from mock_server.protocol.transport import TickTransport


class ListTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5)})
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_what_is_written_in_one_turn_leaves_as_one_piece() -> None:
    real = ListTransport()
    joined = TickTransport(real, asyncio.get_running_loop(), lambda transport: transport.close())
    joined.write(b"head ")
    joined.write(b"body")
    assert real.written == []
    await asyncio.sleep(0)
    joined.write(b"next")
    await asyncio.sleep(0)
    assert real.written == [b"head body", b"next"]


async def test_much_is_written_at_once_so_that_backpressure_sees_it() -> None:
    real = ListTransport()
    joined = TickTransport(real, asyncio.get_running_loop(), lambda transport: transport.close())
    for _ in range(40):
        joined.write(b"x" * 1000)
    assert sum(map(len, real.written)) >= 34_000
    await asyncio.sleep(0)
    assert sum(map(len, real.written)) == 40_000


async def test_closing_writes_the_rest_first_and_nothing_after() -> None:
    real = ListTransport()
    joined = TickTransport(real, asyncio.get_running_loop(), lambda transport: transport.close())
    joined.write(b"last")
    joined.close()
    joined.write(b"late")
    await asyncio.sleep(0)
    assert real.written == [b"last"]
    assert joined.get_extra_info("peername") == ("127.0.0.1", 5)
