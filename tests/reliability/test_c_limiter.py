"""Group C: the rate limiter, in a real Redis, by several processes, against references of its own arithmetic."""

import asyncio
import math
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import limits as oracle
import pytest
import redis
from limits.storage import memory as oracle_memory

from mock_server.core.gcra import MICROSECONDS, Verdict, build_verdict
from mock_server.core.identity import key_digest
from mock_server.core.limits import Limit, parse_limits
from mock_server.errors import StorageUnavailableError
from mock_server.state import limiter as module
from mock_server.state.address import parse_address
from mock_server.state.coalescer import Coalescer
from mock_server.state.limiter import RedisLimiter
from mock_server.state.script import Script
from tests.integration.mock.conftest import ROOT, Mock, RedisServer, StartMock, stores, wait_until
from tests.reliability.conftest import Measure
from tests.reliability.fault_proxy import FaultProxy
from tests.reliability.toxics import Timeout


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Coalescer]:
    made = Coalescer(parse_address(redis_server.url()), max_in_flight=1000, timeout_s=20.0)
    yield made
    await made.close()


class Arrival(NamedTuple):
    at_us: int
    cost: int


class Reference:
    """GCRA in exact fractions, as the literature has it: one theoretical arrival time, no rounding anywhere."""

    def __init__(self, limit: Limit):
        self.limit = limit
        self.interval_us = Fraction(limit.period_s * MICROSECONDS, limit.count)
        self.next_us = Fraction(0)

    def check(self, at_us: int, cost: int) -> tuple[bool, int, float, float]:
        """Returns allowed, remaining, seconds to the full limit and to the retry, rounded up to a microsecond."""
        start_us = max(self.next_us, Fraction(at_us))
        after_us = start_us + cost * self.interval_us
        excess_us = after_us - at_us - self.limit.period_s * MICROSECONDS
        allowed = excess_us <= 0
        if allowed:
            self.next_us = after_us
        ahead_us = (after_us if allowed else start_us) - at_us
        remaining = max(0, math.floor((self.limit.period_s * MICROSECONDS - ahead_us) / self.interval_us))
        return allowed, remaining, math.ceil(ahead_us) / 1e6, 0.0 if allowed else math.ceil(excess_us) / 1e6


class ToldTime:
    """The limiter's own script in a real Redis, but on a clock that the test moves."""

    def __init__(self, redis: Coalescer):
        source = module._GCRA._source
        told = source.replace("redis.call('TIME')", "redis.call('HMGET', 'clock', 's', 'us')")
        # Keys outlive a test that moves the clock by days.
        kept = told.replace("math.ceil((after - now) / 1000) + 1", "3600000")
        assert source != told != kept
        self._script = Script(kept)
        self._redis = redis

    async def check_all(self, key: str, limit: Limit, arrivals: Sequence[Arrival]) -> list[Verdict]:
        """Returns the verdicts on arrivals at the times told, in order."""
        period_us = limit.period_s * MICROSECONDS
        replies = []
        for arrival in arrivals:
            self._redis.execute(
                "HSET", "clock", "s", arrival.at_us // MICROSECONDS, "us", arrival.at_us % MICROSECONDS
            )
            check = self._script.run(self._redis, 1, key, arrival.cost, limit.count, period_us)
            replies.append(asyncio.ensure_future(check))
            if len(replies) == 1 or len(replies) % 500 == 0:
                await replies[-1]
            else:
                # The script is sent before the clock moves on.
                await asyncio.sleep(0)
        return [
            build_verdict(bool(allowed), limit, ahead_us, part, retry_us)
            for allowed, _, ahead_us, part, retry_us in await asyncio.gather(*replies)
        ]


def draw_arrivals(limit: Limit, count: int, rng: random.Random, costs: Sequence[int] = (1,)) -> list[Arrival]:
    """Returns arrivals in bursts, near the rate and after pauses, with moments that fall exactly on an interval."""
    interval_us = limit.period_s * MICROSECONDS / limit.count
    at_us, arrivals = 1_000_000_000_000, []
    for _ in range(count):
        share = rng.choice([0.0, 0.0, 0.0, 0.3, 0.9, 1.0, 1.0, 1.1, 3.0])
        if rng.random() < 0.005:
            share = limit.count * rng.uniform(0.2, 2.0)
        at_us += round(share * interval_us)
        arrivals.append(Arrival(at_us, rng.choice(costs)))
    return arrivals


def count_most(times_us: Sequence[int], period_us: int) -> int:
    """Returns the greatest number of times in any window that is shorter than the period."""
    most = first = 0
    for number, at_us in enumerate(times_us):
        while at_us - times_us[first] >= period_us:
            first += 1
        most = max(most, number - first + 1)
    return most


def read_time_us(server: RedisServer) -> int:
    seconds, micros = server.client().time()
    return int(seconds) * MICROSECONDS + int(micros)


def due(limit: Limit, elapsed_us: int) -> int:
    """Returns the most units that may have come back in that time."""
    return math.ceil(elapsed_us * limit.count / (limit.period_s * MICROSECONDS))


async def test_c01_a_thousand_at_once(client: Coalescer, redis_server: RedisServer, measure: Measure) -> None:
    others = [Coalescer(parse_address(redis_server.url()), 100, timeout_s=20.0) for _ in range(3)]
    limiters = [RedisLimiter(each, "r") for each in (client, *others)]
    admitted = {}
    for text in ("100/hour", "100/minute"):
        (limit,) = parse_limits(text)
        before_us = read_time_us(redis_server)
        verdicts = await asyncio.gather(*(limiters[number % 4].check("one", (limit,)) for number in range(1000)))
        refill = due(limit, read_time_us(redis_server) - before_us)
        admitted[text] = sum(verdict.allowed for verdict in verdicts)
        assert 100 <= admitted[text] <= 100 + refill
        assert refill <= 5 or text == "100/minute"
    for each in others:
        await each.close()
    measure("1,000 at once, limit 100: exactly 100 (+ refill due)", f"{admitted} over 4 connections")


def run_processes(server: RedisServer, identity: str, limit: str, skews_s: Sequence[float]) -> list[list[float]]:
    """Returns what each of the processes printed."""
    arguments = [str(server.port), identity, limit, "2500"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.limiter_process", *arguments, str(skew_s)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for skew_s in skews_s
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [[float(word) for word in process.communicate(timeout=60)[0].split()] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_c02_four_processes_on_one_key(redis_server: RedisServer, measure: Measure) -> None:
    (limit,) = parse_limits("1000/hour")
    before_us = read_time_us(redis_server)
    admitted = [int(row[0]) for row in run_processes(redis_server, "shared", "1000/hour", [0.0] * 4)]
    refill = due(limit, read_time_us(redis_server) - before_us)
    measure("4 processes x 2,500, limit 1,000: exactly 1,000 (+ refill due)", f"{admitted} = {sum(admitted)}")
    assert 1000 <= sum(admitted) <= 1000 + refill


@pytest.mark.slow
async def test_c03_random_arrivals(client: Coalescer, monkeypatch: pytest.MonkeyPatch, measure: Measure) -> None:
    rng = random.Random(3)
    told, total, differences, refused = ToldTime(client), 0, 0, 0
    for text in ("7/minute", "90/minute", "1000/hour", "999983/day", "3/hour"):
        (limit,) = parse_limits(text)
        arrivals = draw_arrivals(limit, 2000, rng, costs=(1, 1, 1, 2, 3))
        reference = Reference(limit)
        verdicts = await told.check_all(text, limit, arrivals)
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            expected = reference.check(*arrival)
            found = verdict.allowed, verdict.remaining, verdict.reset_s, verdict.retry_after_s
            differences += found != expected
        total += len(verdicts)
        refused += sum(not verdict.allowed for verdict in verdicts)
    disagreements, asked = await ask_oracle(told, rng, monkeypatch)
    measure(
        "10,000 random arrivals against a reference GCRA: 0 differences",
        f"{total:,} arrivals, {refused:,} refused: {differences} differences;"
        f" {disagreements} with `limits` in {asked:,} where it must agree",
    )
    assert total == 10_000
    assert refused > 1000
    assert (differences, disagreements) == (0, 0)


async def ask_oracle(told: ToldTime, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Counts refusals of what a moving window of `limits` admits: GCRA with burst = limit admits all of that."""
    now_s = 0.0

    class Clock:
        @staticmethod
        def time() -> float:
            return now_s

    monkeypatch.setattr(oracle_memory, "time", Clock)
    window = oracle.strategies.MovingWindowRateLimiter(oracle.storage.MemoryStorage())
    disagreements = asked = 0
    for text in ("7/minute", "90/minute", "50/hour"):
        (limit,) = parse_limits(text)
        arrivals = []
        for arrival in draw_arrivals(limit, 2000, rng):
            now_s = arrival.at_us / MICROSECONDS
            if window.hit(oracle.parse(text), text):
                arrivals.append(arrival)
        verdicts = await told.check_all(f"oracle-{text}", limit, arrivals)
        asked += len(verdicts)
        disagreements += sum(not verdict.allowed for verdict in verdicts)
        # From idle, both admit the limit at once and not one more.
        now_s += 10 * limit.period_s
        burst = [Arrival(int(now_s * MICROSECONDS), 1)] * (limit.count + 5)
        admitted = sum(verdict.allowed for verdict in await told.check_all(f"oracle-{text}", limit, burst))
        disagreements += admitted != sum(window.hit(oracle.parse(text), text) for _ in burst)
    return disagreements, asked


@pytest.mark.slow
async def test_c04_rolling_windows(client: Coalescer, measure: Measure) -> None:
    rng, told, worst = random.Random(4), ToldTime(client), Fraction(0)
    for text in ("7/minute", "90/minute"):
        (limit,) = parse_limits(text)
        interval_us = limit.period_s * MICROSECONDS / limit.count
        # The worst there is: a burst, then each unit as soon as it is back; and chance.
        greedy = [Arrival(10**12 + round(number * interval_us / 4), 1) for number in range(12 * limit.count)]
        for number, arrivals in enumerate([greedy, draw_arrivals(limit, 2000, rng)]):
            verdicts = await told.check_all(f"{text}-{number}", limit, arrivals)
            pairs = zip(arrivals, verdicts, strict=True)
            times_us = [arrival.at_us for arrival, verdict in pairs if verdict.allowed]
            most = count_most(times_us, limit.period_s * MICROSECONDS)
            worst = max(worst, Fraction(most, limit.count))
            assert most <= 2 * limit.count, f"{text}: {most} in one period"
    measure("no rolling window over limit + burst (2 x limit)", f"at most {float(worst):.3f} x limit in any period")
    assert worst > 1.5, "else nothing tried it"


@pytest.mark.slow
def test_c05_workers_with_wrong_clocks(redis_server: RedisServer, measure: Measure) -> None:
    (limit,) = parse_limits("1000/hour")
    before_us = read_time_us(redis_server)
    rows = run_processes(redis_server, "skewed", "1000/hour", [-5.0, -1.0, 2.0, 5.0])
    elapsed_us = read_time_us(redis_server) - before_us
    admitted = sum(int(row[0]) for row in rows)
    spread_s = max(row[2] for row in rows) - min(row[1] for row in rows)
    measure("clocks skewed ±5 s: 0 change", f"{admitted} of 1,000 admitted; retry_after within {spread_s:.2f} s")
    assert 1000 <= admitted <= 1000 + due(limit, elapsed_us)
    # One unit takes 3.6 s: no process's answer is off by its skew.
    assert all(0 <= row[1] <= row[2] <= 3.7 for row in rows)
    assert spread_s <= elapsed_us / MICROSECONDS + 0.1


@pytest.mark.slow
async def test_c06_lost_replies(redis_server: RedisServer, measure: Measure) -> None:
    (limit,) = parse_limits("1000/day")
    with FaultProxy(redis_server.port) as proxy:
        client = Coalescer(parse_address(proxy.url()), max_in_flight=100)
        limiter = RedisLimiter(client, "r")
        failed = 0

        async def check(number: int) -> None:
            nonlocal failed
            try:
                await limiter.check(f"caller-{number}", (limit,))
            except StorageUnavailableError:
                failed += 1

        for begin in range(0, 400, 100):
            await check(1000 + begin)
            # Replies are lost from here on; the commands are not.
            name = await asyncio.to_thread(proxy.add, Timeout())
            await asyncio.gather(*(check(number) for number in range(begin, begin + 100)))
            await asyncio.to_thread(proxy.remove, name)
            client.outage.end()
        await client.close()
        ordinary = await asyncio.to_thread(count_ordinary_charges, proxy)
    charges = {key: count_charges(redis_server, key, limit) for key in redis_server.client().keys("r:caller-*")}
    most = max(charges.values())
    measure(
        "lost reply, time-out: at most 1 charge per request",
        f"{failed} replies lost, {len(charges)} callers charged, at most {most} each"
        f" (redis-py as it comes: {ordinary})",
    )
    assert failed >= 395
    assert len(charges) > 300, "else the commands were lost, not the replies"
    assert most == 1
    assert ordinary > 1


def count_charges(server: RedisServer, key: bytes | str, limit: Limit) -> int:
    value = server.client().get(key)
    assert isinstance(value, bytes)
    ahead_us = int(value.split(b":")[0]) - read_time_us(server)
    # Some seconds have drained since; one unit is 86 s.
    return round(ahead_us * limit.count / (limit.period_s * MICROSECONDS) + 0.4)


def count_ordinary_charges(proxy: FaultProxy) -> int:
    """Returns how often one INCR of an ordinary client counts when its reply is lost and Redis then answers again."""
    with redis.Redis(port=proxy.port, socket_timeout=0.1) as ordinary:
        ordinary.ping()
        name = proxy.add(Timeout())
        end = threading.Timer(0.15, proxy.remove, (name,))
        end.start()
        ordinary.incr("ordinary")
        end.join()
        return int(ordinary.get("ordinary") or 0)


@pytest.mark.slow
def test_c07_tiers(start_mock: StartMock, redis_server: RedisServer, measure: Measure) -> None:
    mock = start_mock(
        **stores(redis_server) | {
            "CONSOUL_API_KEYS": "key-b,key-p,key-l,key-plain",
            "CONSOUL_TIER_KEYS": '{"key-b":"basic","key-p":"premium","key-l":"lab"}',
            "CONSOUL_TIER_LIMITS": '{"basic":"5/hour","premium":"17/hour","lab":"1000000/hour"}',
            "CONSOUL_DEFAULT_LIMITS": "9/hour",
        }
    )  # fmt: skip
    wanted = {"key-b": 5, "key-p": 17, "key-l": 30, "key-plain": 9}
    keys = [key for key in wanted for _ in range(30)] + ["stranger"] * 5
    random.Random(7).shuffle(keys)
    admitted = dict.fromkeys(wanted, 0)
    for number, key in enumerate(keys):
        answer = mock.chat(f"s{number}", key=key)
        if key == "stranger":
            assert (answer.status, answer.body["code"]) == (401, "E011")
        else:
            assert answer.status in (200, 429)
            admitted[key] += answer.status == 200
    assert mock.chat("s").status == 401, "no key at all"
    counted = {
        tier: mock.sample("consoul_rate_limit_decisions_total", tier=tier, decision="allowed")
        for tier in ("basic", "premium", "lab", "default")
    }
    measure("tiers: 0 cross talk; unknown key 401, no tier: default", f"{admitted} of 30 each; 401 for 6 of 6 others")
    assert admitted == wanted
    assert counted == {"basic": 5, "premium": 17, "lab": 30, "default": 9}


@pytest.mark.slow
async def test_c08_the_exact_retry_after(
    client: Coalescer, redis_server: RedisServer, start_mock: StartMock, measure: Measure
) -> None:
    limiter, limit = RedisLimiter(client, "r"), Limit(1, 2)

    async def retry(caller: str, share: float) -> bool | None:
        """Returns whether a retry after that share of `retry_after` is admitted; None when it was sent too late."""
        assert (await limiter.check(caller, (limit,))).allowed
        refused_us = await read_time()
        verdict = await limiter.check(caller, (limit,))
        assert not verdict.allowed
        await asyncio.sleep(verdict.retry_after_s * share)
        admitted = (await limiter.check(caller, (limit,))).allowed
        is_late = await read_time() - refused_us >= verdict.retry_after_s * MICROSECONDS
        return None if share < 1 and admitted and is_late else admitted

    async def read_time() -> int:
        seconds, micros = await client.execute("TIME")
        return int(seconds) * MICROSECONDS + int(micros)

    async def retry_all(share: float) -> list[bool]:
        done: list[bool] = []
        async with asyncio.timeout(60):
            for attempt in range(20):
                missing = range(100 - len(done))
                found = await asyncio.gather(*(retry(f"{share}-{attempt}-{number}", share) for number in missing))
                done += [admitted for admitted in found if admitted is not None]
                if len(done) == 100:
                    break
        return done

    exact, early = await asyncio.gather(retry_all(1.0), retry_all(0.9))
    mock = start_mock(**stores(redis_server) | {"CONSOUL_DEFAULT_LIMITS": "3/minute;5/hour"})
    refusals = [answer for answer in (mock.chat("s") for _ in range(50)) if answer.status == 429]
    rounded = sum(int(answer.headers["retry-after"]) == math.ceil(answer.body["retry_after"]) for answer in refusals)
    measure(
        "exact retry_after: 100 of 100 after it, 0 of 100 at 90 %; header = rounded up",
        f"{sum(exact)} of {len(exact)}, {sum(early)} of {len(early)}; {rounded} of {len(refusals)} headers",
    )
    assert (sum(exact), len(exact)) == (100, 100)
    assert (sum(early), len(early)) == (0, 100)
    assert rounded == len(refusals) >= 46


def spend(mock: Mock, key: str, count: int) -> tuple[int, set[str | None]]:
    """Returns how many requests are admitted, and what they say of being degraded."""
    answers = [mock.chat(f"{key}-{number}", key=key) for number in range(count)]
    assert {answer.status for answer in answers} <= {200, 429}
    return sum(answer.status == 200 for answer in answers), {answer.headers.get("x-degraded") for answer in answers}


@pytest.mark.slow
def test_c09_redis_down(start_mock: StartMock, redis_server: RedisServer, measure: Measure) -> None:
    redis_server.stop()
    server = RedisServer(redis_server.folder, append_only=True)
    server.start()
    try:
        mock = start_mock(
            **stores(server) | {
                "CONSOUL_WORKERS": "2",
                "CONSOUL_DEFAULT_LIMITS": "40/hour",
                "CONSOUL_REDIS_FALLBACK_ENABLED": "true",
                "CONSOUL_REDIS_RECONNECT_INTERVAL": "1",
                "MOCK_FAST_RECONNECT": "true",
            }
        )  # fmt: skip
        assert spend(mock, "half", 30) == (30, {None})
        server.stop()
        alone, marks = spend(mock, "new", 150)
        memory, _ = spend(mock, "half", 150)
        server.start()
        wait_until(lambda: mock.sample("consoul_redis_degraded") == 0, "both workers are back")
        back_new, back_marks = spend(mock, "new", 60)
        back_half, _ = spend(mock, "half", 60)
    finally:
        server.stop()
    measure(
        "each worker limit/W, total <= 1.0 x limit; back without double penalty",
        f"{alone} and {memory} of 40 while away (2 workers x 20); then {back_new} of 40 and {back_half} of 10 left",
    )
    assert marks == {"redis"}
    assert back_marks == {None}
    # Connections may all have gone to one of the workers; each has half.
    assert 20 <= alone <= 40
    assert 20 <= memory <= 40
    assert (back_new, back_half) == (40, 10)


@pytest.mark.slow
async def test_c10_hostile_keys(client: Coalescer, redis_server: RedisServer, measure: Measure) -> None:
    rng, limiter = random.Random(10), RedisLimiter(client, "r:")
    pieces = [
        "*",
        "?",
        "[a-z]",
        "{",
        "}",
        "{}",
        "\r\n",
        "\0",
        ":",
        " ",
        "\\",
        '"',
        "'",
        "\x1b[31m",
        "é",
        "\ud800",
        "x" * 99,
    ]
    identities = {"", "*", "{}", "a\r\nSET b 1\r\n", "\0", "x" * 1_000_000, "é" * 500_000, "r:*", "../../etc"}
    while len(identities) < 10_000:
        identities.add("".join(rng.choice(pieces) for _ in range(rng.randint(1, 40))) + str(len(identities)))
    redis_server.client().set("bystander", "untouched")
    limits = parse_limits("5/minute;50/hour")
    verdicts = await asyncio.gather(*(limiter.check(key_digest(text), limits) for text in identities))
    found = [key if isinstance(key, bytes) else key.encode() for key in redis_server.client().keys("*")]
    keys = [key for key in found if key != b"bystander"]
    outside = [key for key in keys if not key.startswith(b"r:")]
    lengths = {len(key.split(b":")[1]) for key in keys}
    measure(
        "10,000 hostile identities: hashed, 0 keys outside the namespace, constant length",
        f"{len(identities):,} identities, {len(keys):,} keys, {len(outside)} outside, digest lengths {lengths}",
    )
    assert all(verdict.allowed and verdict.remaining == 4 for verdict in verdicts), "no two share a budget"
    assert (len(keys), outside, lengths) == (20_000, [], {64})
    assert len({len(key) for key in keys}) == 2, "one length for each of the two limits"
    assert redis_server.client().get("bystander") == b"untouched"
    with redis_server.client().pipeline() as pipeline:
        for key in keys:
            pipeline.pttl(key)
        assert all(0 < ttl_ms <= 3_600_000 for ttl_ms in pipeline.execute())
