"""Virtual users that take numbered turns, each on a session of its own, and what they were answered."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import redis

from tests.reliability.keep_alive import KeepAliveClient

# What a user notes when it got no answer at all.
NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """One turn: when it began, how long it took, and what was answered."""

    session_id: str
    number: int
    began_s: float
    duration_s: float
    status: int
    code: str
    is_degraded: bool


@dataclass
class Users:
    """`count` users, each of which begins a turn every `pace_s` unless the last one still runs.

    `turns_each` begins a new session after so many turns; None never does.
    """

    port: int
    count: int
    pace_s: float
    turns_each: int | None = None
    taken: list[Taken] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _is_over: bool = False

    def start(self) -> None:
        """Lets the users begin, spread over their pace."""
        self._tasks = [asyncio.create_task(self._use(user)) for user in range(self.count)]

    async def stop(self) -> None:
        """Lets every turn under way finish."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _use(self, user: int) -> None:
        client = KeepAliveClient(self.port)
        due_s = time.monotonic() + self.pace_s * user / self.count
        number = 0
        while not self._is_over:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + self.pace_s, time.monotonic())
            session = 0 if self.turns_each is None else number // self.turns_each
            await self._take(client, f"user-{user}-{session}", number)
            number += 1
        client.close()

    async def _take(self, client: KeepAliveClient, session_id: str, number: int) -> None:
        began_s = time.monotonic()
        status, code, is_degraded = NO_ANSWER, "", False
        try:
            reply = await client.chat(session_id, f"{session_id} {number}")
        except (OSError, EOFError):
            pass
        else:
            status, is_degraded = reply.status, "x-degraded" in reply.headers
            code = "" if status == 200 else reply.json()["code"]
            if status == 200 and reply.json()["session_id"] != session_id:
                code = "another's answer"
        self.taken.append(Taken(session_id, number, began_s, time.monotonic() - began_s, status, code, is_degraded))

    def since(self, begin_s: float, end_s: float = float("inf")) -> list[Taken]:
        """Returns the turns that began in that time."""
        return [turn for turn in self.taken if begin_s <= turn.began_s < end_s]


def percentile_ms(turns: Iterable[Taken], share: float) -> float:
    """Returns the duration, in milliseconds, that `share` of the turns do not exceed."""
    ordered = sorted(turn.duration_s for turn in turns)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


@dataclass(frozen=True)
class History:
    """What Redis holds of the turns taken: set-full, as Jepsen calls it."""

    stable: int
    lost: int
    repeated: int
    disordered: int
    foreign: int

    @property
    def is_whole(self) -> bool:
        return (self.lost, self.repeated, self.disordered, self.foreign) == (0, 0, 0, 0)

    def __str__(self) -> str:
        text = f"{self.lost} lost of {self.lost + self.stable:,}"
        rest = {name: getattr(self, name) for name in ("repeated", "disordered", "foreign")}
        return text + "".join(f", {count} {name}" for name, count in rest.items() if count)


def read_history(client: "redis.Redis", taken: Iterable[Taken], prefix: str = "consoul:session:") -> History:
    """Compares the acknowledged turns among `taken` with the sessions stored.

    A turn without acknowledgement may be there or not, but once and in its place.
    """
    acknowledged: dict[str, list[int]] = {}
    for turn in taken:
        numbers = acknowledged.setdefault(turn.session_id, [])
        if turn.status == 200:
            numbers.append(turn.number)
    stable = lost = repeated = disordered = foreign = 0
    for session_id, numbers in acknowledged.items():
        stored = client.get(prefix + session_id)
        messages = msgspec.json.decode(stored)["messages"] if isinstance(stored, bytes) else []
        asked = [message["content"].split(" ") for message in messages if message["role"] == "user"]
        foreign += sum(owner != session_id for owner, _ in asked)
        found = [int(number) for _, number in asked]
        repeated += sum(count - 1 for count in Counter(found).values())
        disordered += sum(one > other for one, other in itertools.pairwise(found))
        lost += len(set(numbers) - set(found))
        stable += len(set(numbers) & set(found))
    return History(stable, lost, repeated, disordered, foreign)
