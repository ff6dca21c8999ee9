"""Shows a run while it happens: a live block on a terminal, a plain line every ten seconds elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live

from loadtests.results.fold import Tally
from loadtests.results.formats import format_clock, format_rate, format_ratio, format_seconds
from loadtests.results.live import build_live, describe_thresholds

LINE_EVERY_S = 10.0
REFRESH_S = 0.5


class Progress:
    """A context that draws the tally; `show` may be called as often as one likes."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self._tally = tally
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._started_at: float | None = None
        self._due = 0.0

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self) -> None:
        """Draws again when it is time to."""
        if self._tally.started is None:
            return
        now = time.monotonic()
        if self._started_at is None:
            self._started_at = now
        if now < self._due:
            return
        elapsed_s = now - self._started_at
        if self._live:
            self._due = now + REFRESH_S
            self._live.update(build_live(self._tally, elapsed_s), refresh=True)
            return
        self._due = now + LINE_EVERY_S
        self._print_line(elapsed_s)

    def _print_line(self, elapsed_s: float) -> None:
        point = self._tally.latest
        if point is None:
            return
        planned_s = self._tally.plan.profile.duration_s * self._tally.plan.time_scale
        asked = "" if point.asked_rate is None else f" of {format_rate(point.asked_rate)} asked"
        self._console.print(
            f"{format_clock(elapsed_s)} of {format_clock(planned_s)}  {point.stage or '-'}  "
            f"{format_rate(point.achieved_rate)}{asked}  {point.users} users  p95 {format_seconds(point.p95_s)}  "
            f"errors {format_ratio(point.error_ratio)}  thresholds: {describe_thresholds(self._tally)}",
            markup=False,
        )
