"""Whether Redis is away: counts consecutive failures of calls; never waits, and ends only when told."""

FAILURE_THRESHOLD = 5


class Outage:
    """Begins on exactly the `threshold`-th failure in a row, and lasts until `end`.

    A call that got no answer and a write that was refused are counted apart: a server that answers reads and refuses
    writes is of no use, however many reads succeed in between.
    """

    __slots__ = ("_threshold", "failures", "is_away", "refusals")

    def __init__(self, threshold: int = FAILURE_THRESHOLD):
        self._threshold = threshold
        self.failures = 0
        self.refusals = 0
        self.is_away = False

    def fail(self, calls: int = 1) -> bool:
        """Counts calls that got no answer; returns whether that began the outage."""
        self.failures += calls
        return self.failures >= self._threshold and self.begin()

    def refuse(self) -> bool:
        """Counts one call that Redis refused to serve; returns whether that began the outage."""
        self.refusals += 1
        return self.refusals >= self._threshold and self.begin()

    def succeed(self) -> None:
        """Takes note of an answer."""
        self.failures = 0

    def confirm(self) -> None:
        """Takes note of a write that was taken: nothing stands against Redis any more."""
        self.failures = self.refusals = 0

    def begin(self) -> bool:
        """Starts the outage; returns False when it had begun already."""
        had_begun, self.is_away = self.is_away, True
        return not had_begun

    def end(self) -> None:
        """Ends the outage and forgets what was counted."""
        self.is_away = False
        self.failures = self.refusals = 0
