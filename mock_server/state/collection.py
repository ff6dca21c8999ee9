"""Collection of dead sessions: what no time to live will ever end, and what nobody can read. Never a live one."""

import asyncio
import hashlib
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime

from mock_server.core.clock import Clock
from mock_server.errors import StorageUnavailableError
from mock_server.metrics import StorageMetrics
from mock_server.state.coalescer import Coalescer
from mock_server.state.script import Script
from mock_server.state.sessions import read_session

_log = logging.getLogger(__name__)

# Keys looked at in one step, and deleted in one: neither Redis nor the event loop is held for long.
SCAN_COUNT = 100
_DELETE_AT_ONCE = 10
# A worker that comes a little early must still find this interval's cycle taken.
_LOCK_SHARE = 0.9
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_BEGINNING = re.compile(rb'\{"version":\d+,"created_at":"')
_NO_TTL = -1
_GONE, _STRING = 0, 1

# What each key is, without reading all of it: type (0 gone), time to live, beginning and last byte.
_LOOK = Script("""
local seen = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then seen[i] = {0}
  elseif kind ~= 'string' then seen[i] = {2}
  else
    seen[i] = {1, redis.call('PTTL', key), redis.call('GETRANGE', key, 0, 63), redis.call('GETRANGE', key, -1, -1)}
  end
end
return seen
""")
_READ = Script("""
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {0} end
if kind ~= 'string' then return {2} end
return {1, redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1])}
""")
# A session used since it was judged has another value, and a time to live: it stays.
_DELETE = Script("""
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return 0 end
if ARGV[1] == '' then
  if kind == 'string' then return 0 end
else
  if kind ~= 'string' then return 0 end
  if ARGV[2] == '1' and redis.call('PTTL', KEYS[1]) ~= -1 then return 0 end
  if redis.sha1hex(redis.call('GET', KEYS[1])) ~= ARGV[1] then return 0 end
end
redis.call('UNLINK', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[3])
return 1
""")


def looks_alive(kind: int, ttl_ms: int = _NO_TTL, beginning: bytes = b"", end: bytes = b"") -> bool:
    """Returns whether the value need not be read whole: it will expire, and begins and ends as a session does."""
    return kind == _STRING and ttl_ms != _NO_TTL and end == b"}" and _BEGINNING.match(beginning) is not None


def is_dead(value: bytes, has_ttl: bool, oldest_s: float) -> bool:
    """Returns whether a stored value is no session, or one without time to live last saved before `oldest_s`."""
    session = read_session(value)
    if session is None:
        return True
    if has_ttl:
        return False
    try:
        return datetime.fromisoformat(session.updated_at).timestamp() < oldest_s
    except (ValueError, OverflowError):
        return True


class SessionCollector:
    """Deletes at most `batch_size` dead sessions each `interval_s`, however many workers there are.

    Each cycle goes on where the last one stopped. `<prefix>:{collection}` says that this interval's cycle is taken;
    no session id holds a brace. Keys that begin with `spared` are another part's, as limits in the same database.
    """

    def __init__(
        self,
        redis: Coalescer,
        key_prefix: str,
        ttl_s: int,
        interval_s: float,
        batch_size: int,
        clock: Clock,
        metrics: StorageMetrics,
        spared: str = "",
    ):
        self._redis = redis
        self._prefix = key_prefix.removesuffix(":") + ":"
        self._index = self._prefix + "{index}"
        self._lock = self._prefix + "{collection}"
        self._spared = spared.removesuffix(":").encode() + b":" if spared else b""
        self._ttl_s = ttl_s
        self._interval_s = interval_s
        self._batch_size = batch_size
        self._clock = clock
        self._metrics = metrics
        self._cursor = b"0"
        self._found: deque[bytes] = deque()
        self._is_away = False

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Collects each interval, first after one, until cancelled; an interval without Redis is left out."""
        while True:
            await sleep(self._interval_s)
            await self.collect_in_turn()

    async def collect_in_turn(self) -> int:
        """Collects unless another worker did within this interval, or Redis is away; returns how many are gone."""
        lasts_ms = max(1, int(self._interval_s * 1000 * _LOCK_SHARE))
        try:
            if await self._redis.execute("SET", self._lock, 1, "NX", "PX", lasts_ms) is None:
                return 0
            deleted = await self.collect()
        except StorageUnavailableError:
            if not self._is_away:
                self._is_away = True
                _log.warning("Dead sessions are not collected while Redis does not answer; next try in an interval")
            return 0
        self._is_away = False
        return deleted

    async def collect(self) -> int:
        """Does one cycle: until the batch is full or every key was seen; returns how many are gone."""
        started_s = self._clock.monotonic_s()
        deleted = 0
        try:
            # A pass begun in an earlier cycle has not seen what changed behind it: another follows.
            passes_left = 1 if self._cursor == b"0" and not self._found else 2
            while deleted < self._batch_size:
                if self._found:
                    deleted += await self._delete_found(min(_DELETE_AT_ONCE, self._batch_size - deleted))
                elif passes_left:
                    await self._look()
                    passes_left -= self._cursor == b"0"
                else:
                    break
        finally:
            self._metrics.gc_deleted.inc(deleted)
            self._metrics.gc_duration.observe(self._clock.monotonic_s() - started_s)
        return deleted

    async def _look(self) -> None:
        """Takes one step through the keys and remembers those that may be dead."""
        self._cursor, keys = await self._redis.execute(
            "SCAN", self._cursor, "MATCH", self._prefix + "*", "COUNT", SCAN_COUNT
        )
        keys = [key for key in keys if self._is_session_key(key)]
        if keys:
            seen = await _LOOK.run(self._redis, len(keys), *keys)
            self._found.extend(
                key for key, look in zip(keys, seen, strict=True) if look[0] != _GONE and not looks_alive(*look)
            )

    async def _delete_found(self, most: int) -> int:
        some = [self._found.popleft() for _ in range(min(most, len(self._found)))]
        return sum(await asyncio.gather(*(self._delete_if_dead(key) for key in some)))

    async def _delete_if_dead(self, key: bytes) -> int:
        kind, *rest = await _READ.run(self._redis, 1, key)
        if kind == _GONE:
            return 0
        digest, has_ttl = "", False
        if kind == _STRING:
            ttl_ms, value = rest
            has_ttl = ttl_ms != _NO_TTL
            if not is_dead(value, has_ttl, self._clock.wall_s() - self._ttl_s):
                return 0
            # The digest that Redis can compute; nothing is protected by it.
            digest = hashlib.sha1(value, usedforsecurity=False).hexdigest()
        session_id = key[len(self._prefix) :]
        return int(await _DELETE.run(self._redis, 2, key, self._index, digest, int(not has_ttl), session_id))

    def _is_session_key(self, key: bytes) -> bool:
        if self._spared and key.startswith(self._spared):
            return False
        return _ID.fullmatch(key, len(self._prefix)) is not None
