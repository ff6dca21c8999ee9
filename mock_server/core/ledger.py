"""What each request was really given by the simulated provider: the truth an instrument is calibrated against."""

import itertools
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


class Runs:
    """Runs of tokens as (seconds, number of tokens), in 16 bytes each: a ring of long streams holds a million."""

    __slots__ = ("_flat",)

    def __init__(self, runs: Iterable[tuple[float, int]] = ()):
        self._flat = array("d")
        for at_s, tokens in runs:
            self.append(at_s, tokens)

    def append(self, at_s: float, tokens: int) -> None:
        """Adds a run."""
        self._flat.append(at_s)
        self._flat.append(tokens)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        flat = iter(self._flat)
        return ((at_s, int(tokens)) for at_s, tokens in zip(flat, flat, strict=True))


@dataclass(slots=True)
class Entry:
    """One call to a provider. `started_s` is wall time; all other seconds are durations, `sent_s` since the start.

    `fault` names the failure that was drawn, None for none; `waited_s` is the time before the provider began, or the
    call ended without it: for a place in its pool and in its batches; None while it waits. `sent_s` holds (seconds,
    number of tokens) for each run of tokens handed to the transport; a whole answer is one run. `outcome` is None
    while the call runs, then "completed", "failed" or "cancelled".
    """

    request_id: str
    transport: str
    provider: str
    model: str
    started_s: float
    first_token_s: float
    between_tokens_s: float
    tokens: int
    fault: str | None = None
    waited_s: float | None = None
    sent_s: Runs = field(default_factory=Runs)
    outcome: str | None = None


class Ledger:
    """A ring of the newest `capacity` entries, numbered from 1 in order of their start."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._entries: deque[tuple[int, Entry]] = deque(maxlen=capacity)
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the newest entry; 0 when there was none."""
        return self._last

    @property
    def first(self) -> int:
        """The number of the oldest entry that is kept; of the next to come when none is."""
        return self._last + 1 - len(self._entries)

    def record(self, entry: Entry) -> None:
        """Adds an entry that its call goes on to fill; the oldest leaves when the ring is full."""
        self._last += 1
        self._entries.append((self._last, entry))

    def newer(self, after: int = 0) -> list[tuple[int, Entry]]:
        """Returns the kept entries with a number beyond `after`, oldest first."""
        return list(itertools.islice(self._entries, max(0, after + 1 - self.first), None))

    def clear(self) -> None:
        """Forgets the entries; numbers go on."""
        self._entries.clear()
