"""A Lua script called by its digest, sent whole only when Redis does not hold it."""

import asyncio
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

    def call(self, redis: Coalescer, keys: int, *parts: str | bytes | int) -> asyncio.Future[Any]:
        """Returns the future reply; the first `keys` parts are keys, the rest arguments.

        Where it is ScriptMissingError, nothing was run: `run_whole` does.
        """
        return redis.execute("EVALSHA", self._sha, keys, *parts)

    async def run(self, redis: Coalescer, keys: int, *parts: str | bytes | int) -> Any:
        """Returns the reply, whether or not Redis holds the script."""
        try:
            reply = await self.call(redis, keys, *parts)
        except ScriptMissingError:
            reply = await self.run_whole(redis, keys, *parts)
        if redis.outage.refusals:
            self.confirm(redis)
        return reply

    def confirm(self, redis: Coalescer) -> None:
        """Notes that it ran while Redis was refusing calls."""
        if self.proves_writes:
            redis.outage.confirm()

    async def run_whole(self, redis: Coalescer, keys: int, *parts: str | bytes | int) -> Any:
        """Returns the reply of the script sent with its source, which Redis then holds."""
        return await redis.execute("EVAL", self._source, keys, *parts)


class WritingScript(Script):
    """One that ends with a write that takes memory: its run shows that Redis is neither full nor a replica."""

    proves_writes = True
