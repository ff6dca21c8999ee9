"""Sessions in Redis, and in memory while Redis does not answer; nothing acknowledged is lost between the two."""

import asyncio
from collections.abc import Callable, Iterator

from mock_server.core.outage import Outage
from mock_server.errors import SessionNotFoundError, StorageSaturatedError, StorageUnavailableError
from mock_server.state.journal import Attempt, Entry, Journal
from mock_server.state.link import AwayError
from mock_server.state.redis_sessions import RedisSessions, UnsavedError
from mock_server.state.sessions import Ahead, Saved, Session, Turn, append_turns, forget

COPIES_AT_ONCE = 64
# Turns that began in memory and never ended, since the provider failed, leave their mark behind.
MAX_BEGUN = 100_000


class FallbackSessions:
    """Asks `redis` unless there is an outage, and goes on in memory when a call fails.

    Memory holds the sessions that took a turn meanwhile, with all they had when they were loaded: those that only
    Redis holds look new until it is back. A session with turns at risk is read and written in memory until
    `copy_back` has appended them to what Redis holds. `on_risk` is told the number of such sessions whenever it
    changes, `on_created` of each that turned out to be new when it was copied.
    """

    def __init__(
        self,
        redis: RedisSessions,
        journal: Journal,
        outage: Outage,
        monotonic_s: Callable[[], float],
        max_messages: int,
        on_created: Callable[[], None],
    ):
        self._redis = redis
        self._journal = journal
        self._outage = outage
        self._monotonic_s = monotonic_s
        self._max_messages = max_messages
        self._on_created = on_created
        self.on_risk: Callable[[int], None] = _ignore
        # Sessions that could not be copied, since Redis holds another's or nothing readable under their name.
        self.uncopied = 0
        # Turns under way that began in memory end there: their answers are marked, and cost one time-out at most.
        self._begun: set[str] = set()

    @property
    def at_risk(self) -> int:
        """Number of sessions with turns that only memory holds."""
        return len(self._journal)

    def ask(self, session_id: str) -> Ahead | None:
        return None if self._outage.is_away else self._redis.ask(session_id)

    async def load(self, session_id: str, ahead: Ahead | None = None) -> Session | None:
        entry = self._journal.find(session_id)
        if entry is not None:
            forget(ahead)
            return entry.session
        if self._outage.is_away:
            forget(ahead)
        else:
            try:
                session = await self._redis.load(session_id, ahead)
            except AwayError:
                pass
            else:
                if self._begun:
                    self._begun.discard(session_id)
                return session
        self._make_room()
        if len(self._begun) >= MAX_BEGUN:
            self._begun.clear()
        self._begun.add(session_id)
        return None

    async def append(self, session_id: str, seen: Session, turn: Turn, now: str) -> Saved:
        entry = self._journal.find(session_id)
        while entry is not None and entry.copied is not None:
            await entry.copied.wait()
            entry = self._journal.find(session_id)
        is_begun = session_id in self._begun
        self._begun.discard(session_id)
        attempt = None
        if entry is None and not is_begun and not self._outage.is_away:
            try:
                return await self._redis.append(session_id, seen, turn, now)
            except UnsavedError as error:
                seen = error.seen
                attempt = Attempt(seen, 1) if error.was_sent else None
        elif entry is not None and _is_foreign(entry.session, seen.owner):
            raise SessionNotFoundError
        self._make_room()
        added = self._journal.add(session_id, seen, turn, now, self._monotonic_s())
        if attempt is not None:
            added.attempts.append(attempt)
        if entry is None:
            self.on_risk(self.at_risk)
        return Saved(False, is_degraded=True)

    def stands_in(self, session_id: str) -> bool:
        return self._outage.is_away or session_id in self._begun or self._journal.find(session_id) is not None

    async def count(self) -> int:
        if self._outage.is_away:
            self._drop_expired()
            return self.at_risk
        return await self._redis.count()

    async def copy_back(self) -> int:
        """Appends what is at risk to what Redis holds, many sessions at once; returns how many it copied.

        Stops when Redis fails again; what is then still at risk stays so.
        """
        waiting = iter(self._journal)
        copied = await asyncio.gather(*(self._copy_each(waiting) for _ in range(min(COPIES_AT_ONCE, self.at_risk))))
        self.on_risk(self.at_risk)
        return sum(copied)

    async def _copy_each(self, waiting: Iterator[str]) -> int:
        copied = 0
        for session_id in waiting:
            entry = self._journal.find(session_id)
            if entry is None:
                continue
            entry.copied = asyncio.Event()
            try:
                await self._copy(session_id, entry)
                self._journal.remove(session_id)
                copied += 1
            except (AwayError, StorageSaturatedError):
                break
            except (SessionNotFoundError, StorageUnavailableError):
                self.uncopied += 1
                self._journal.remove(session_id)
            finally:
                entry.copied.set()
                entry.copied = None
        return copied

    async def _copy(self, session_id: str, entry: Entry) -> None:
        """Saves the entry's turns after whatever Redis holds; nobody adds to it meanwhile."""
        over = entry.seen if entry.seen.version else None
        while entry.turns:
            attempt = Attempt(entry.seen, len(entry.turns))
            session = append_turns(entry.seen, entry.turns, self._max_messages)
            try:
                is_saved, found = await self._redis.replace(session_id, over, session)
            except (AwayError, asyncio.CancelledError) as error:
                if getattr(error, "was_sent", True):
                    entry.attempts.append(attempt)
                raise
            if is_saved:
                if over is None and not entry.seen.version:
                    self._on_created()
                return
            if found is not None and _is_foreign(found, entry.session.owner):
                raise SessionNotFoundError
            if entry.discover(found):
                self._on_created()
            over = found

    def _make_room(self) -> None:
        if self._journal.is_full:
            self._drop_expired()
            if self._journal.is_full:
                raise StorageSaturatedError(
                    "Memory is full of turns that Redis does not hold yet.", retry_after_s=1.0
                )

    def _drop_expired(self) -> None:
        before = self.at_risk
        self._journal.drop_expired(self._monotonic_s())
        if self.at_risk != before:
            self.on_risk(self.at_risk)


def _is_foreign(session: Session, owner: str | None) -> bool:
    """Returns whether a session belongs to another key; while auth is off, none does."""
    return owner is not None and session.owner != owner


def _ignore(_: int) -> None:
    return
