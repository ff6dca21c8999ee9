"""Sessions in Redis: saved by compare-and-set, so that two workers never lose a turn."""

from typing import NamedTuple

import msgspec

from mock_server.errors import SessionNotFoundError, StorageSaturatedError, StorageUnavailableError
from mock_server.state.coalescer import Coalescer
from mock_server.state.link import AwayError
from mock_server.state.script import Script, WritingScript
from mock_server.state.sessions import Ahead, Saved, Session, Turn, append_turn, open_session

_MAX_ATTEMPTS = 64

# Saves only over the state the writer has seen, else answers with what is there: a retry needs no second read.
_SAVE = WritingScript("""
local expected = ARGV[1]
local have = redis.call('GETRANGE', KEYS[1], 0, math.max(#expected, 1) - 1)
if have ~= expected then return {0, redis.call('GET', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[3], ARGV[4])
return 1
""")
_COUNT = Script("""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
return redis.call('ZCARD', KEYS[1])
""")


class UnsavedError(AwayError):
    """A save that Redis did not answer; `seen` is what the turn was to follow."""

    def __init__(self, seen: Session, was_sent: bool):
        super().__init__(retry_after_s=1.0)
        self.seen = seen
        self.was_sent = was_sent


class UnreadableSessionError(StorageUnavailableError):
    """What Redis holds under a session's key is no session."""

    text = "The stored session cannot be read."


class Replaced(NamedTuple):
    """Whether a session was saved; if not, what Redis holds in its place."""

    is_saved: bool
    found: Session | None


class RedisSessions:
    """Keys are `<prefix>:<id>`; `<prefix>:{index}` is a sorted set of ids by the time they expire.

    A session id cannot hold a brace, so none can collide with the index.
    """

    def __init__(self, redis: Coalescer, key_prefix: str, ttl_s: int, max_messages: int):
        self._redis = redis
        self._prefix = key_prefix.removesuffix(":") + ":"
        self._index = self._prefix + "{index}"
        self._ttl_s = ttl_s
        self._max_messages = max_messages
        self._encoder = msgspec.json.Encoder()

    def ask(self, session_id: str) -> Ahead:
        return self._redis.execute("GET", self._prefix + session_id)

    async def load(self, session_id: str, ahead: Ahead | None = None) -> Session | None:
        stored = await (ahead or self.ask(session_id))
        return None if stored is None else self._decode(stored)

    async def append(self, session_id: str, seen: Session, turn: Turn, now: str) -> Saved:
        key = self._prefix + session_id
        expected = _beginning(seen) if seen.version else ""
        for _ in range(_MAX_ATTEMPTS):
            value = self._encoder.encode(append_turn(seen, turn, now, self._max_messages))
            try:
                reply = await _SAVE.run(self._redis, 2, key, self._index, expected, value, self._ttl_s, session_id)
            except AwayError as error:
                raise UnsavedError(seen, error.was_sent) from None
            if reply == 1:
                return Saved(not expected)
            stored = reply[1]
            if stored is None:
                expected = ""
                continue
            found = self._decode(stored)
            if found.owner != seen.owner:
                # Two keys began a session of one name at once: it belongs to the first.
                raise SessionNotFoundError
            seen = found
            expected = _beginning(seen)
        raise StorageSaturatedError("Too many writers on one session.", retry_after_s=1.0)

    async def replace(self, session_id: str, seen: Session | None, session: Session) -> Replaced:
        """Saves `session` where Redis holds what was `seen` (None: nothing), else says what it holds."""
        key, expected = self._prefix + session_id, _beginning(seen) if seen is not None else ""
        value = self._encoder.encode(session)
        reply = await _SAVE.run(self._redis, 2, key, self._index, expected, value, self._ttl_s, session_id)
        if reply == 1:
            return Replaced(True, None)
        return Replaced(False, None if reply[1] is None else self._decode(reply[1]))

    def stands_in(self, session_id: str) -> bool:
        return False

    async def count(self) -> int:
        return int(await _COUNT.run(self._redis, 1, self._index))

    def _decode(self, stored: bytes) -> Session:
        session = open_session(stored)
        if session is None:
            raise UnreadableSessionError(retry_after_s=1.0)
        return session


def _beginning(session: Session) -> str:
    # With the time, which tells two states of one version apart: after a loss of data there may be such.
    return f'{{"version":{session.version},"created_at":"{session.created_at}","updated_at":"{session.updated_at}"'
