"""A process that checks one identity against a limit many times at once: python -m tests.reliability.limiter_process.

Arguments: port of Redis, identity, limit, number of checks, seconds by which its clocks are wrong. Says "ready",
waits for a line, then prints how many checks were admitted and the least and greatest `retry_after` of the others.
"""

import asyncio
import sys
import time


def skew_clocks(by_s: float) -> None:
    """Sets this process's clocks wrong, before anything has asked them."""
    for name in ("time", "monotonic", "perf_counter"):
        real = getattr(time, name)
        setattr(time, name, lambda real=real: real() + by_s)


async def main(port: int, identity: str, limit: str, checks: int) -> None:
    from mock_server.core.limits import parse_limits
    from mock_server.state.address import parse_address
    from mock_server.state.coalescer import Coalescer
    from mock_server.state.limiter import RedisLimiter

    client = Coalescer(parse_address(f"redis://127.0.0.1:{port}"), max_in_flight=100, timeout_s=20.0)
    limiter, limits = RedisLimiter(client, "r"), parse_limits(limit)
    assert await client.is_reachable()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    verdicts = await asyncio.gather(*(limiter.check(identity, limits) for _ in range(checks)))
    waits_s = [verdict.retry_after_s for verdict in verdicts if not verdict.allowed]
    print(len(verdicts) - len(waits_s), min(waits_s), max(waits_s), flush=True)
    await client.close()


if __name__ == "__main__":
    skew_clocks(float(sys.argv[5]))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
