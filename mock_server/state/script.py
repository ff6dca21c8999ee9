"""A Lua script called by its digest, sent whole only when Redis does not hold it."""

import hashlib
from typing import Any

from mock_server.state.coalescer import Coalescer
from mock_server.state.link import ScriptMissingError


class Script:
    """Runs atomically in Redis; survives a restart and SCRIPT FLUSH, and never runs twice for one call."""

    proves_writes = False

    def __init__(self, source: str):
        self._source = source
        # Redis names scripts by SHA-1; nothing is protected by it.
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Coalescer, keys: int, *parts: str | bytes | int) -> Any:
        """Returns the reply; the first `keys` parts are keys, the rest arguments."""
        try:
            reply = await redis.execute("EVALSHA", self._sha, keys, *parts)
        except ScriptMissingError:
            reply = await redis.execute("EVAL", self._source, keys, *parts)
        if self.proves_writes and redis.outage.refusals:
            redis.outage.confirm()
        return reply


class WritingScript(Script):
    """One that ends with a write that takes memory: its run shows that Redis is neither full nor a replica."""

    proves_writes = True
