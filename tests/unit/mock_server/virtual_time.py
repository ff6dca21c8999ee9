"""An event loop whose clock jumps to the next timer: waits take no time, and exactly as long as they say."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0; code under test is given `loop.time` as its monotonic clock."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout_s: float | None = None) -> Any:
            assert timeout_s is not None, "everything waits and no timer is set: it would wait for ever"
            self._now_s += max(0.0, timeout_s)
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now_s


def read_clock() -> float:
    """Returns the virtual time of the running loop."""
    return asyncio.get_running_loop().time()


async def sleep_until(deadline_s: float) -> None:
    """Waits until that virtual time."""
    await asyncio.sleep(deadline_s - read_clock())


def run_virtually(main: Coroutine[Any, Any, Result]) -> Result:
    """Returns what `main` returns; fails when it leaves a task behind."""

    async def watched() -> Result:
        result = await main
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(watched())
