"""What a worker's interpreter does, measured: its collections of garbage, and the tasks of its event loop."""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

from mock_server.metrics import RuntimeMetrics

_log = logging.getLogger(__name__)
_SAMPLE_EVERY_S = 1.0


class Runtime:
    """Observes each collection as it happens, and counts tasks each second (1.6 ms where there are 10,000)."""

    def __init__(self, metrics: RuntimeMetrics, monotonic_s: Callable[[], float], is_logged: bool):
        """With `is_logged`, each collection is a line of the log too."""
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._is_logged = is_logged
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started_s: float | None = None

    async def run(self) -> None:
        """Observes until cancelled."""
        self._loop = asyncio.get_running_loop()
        gc.callbacks.append(self.note_collection)
        try:
            while True:
                self._metrics.tasks.set(len(asyncio.all_tasks()))
                await asyncio.sleep(_SAMPLE_EVERY_S)
        finally:
            gc.callbacks.remove(self.note_collection)

    def note_collection(self, phase: str, info: dict[str, Any]) -> None:
        """Is called by the collector as each collection starts and stops, in whatever code it interrupts."""
        now_s = self._monotonic_s()
        if phase == "start":
            self._started_s = now_s
        elif self._started_s is not None:
            duration_s, self._started_s = now_s - self._started_s, None
            self._metrics.gc_pause[info["generation"]].observe(duration_s)
            if self._is_logged and self._loop is not None:
                # What it interrupted may be the logging itself: the line is written on the loop's next turn.
                self._loop.call_soon_threadsafe(_log_collection, duration_s, dict(info))


def _log_collection(duration_s: float, info: dict[str, Any]) -> None:
    fields = {
        "generation": info["generation"],
        "duration_s": round(duration_s, 6),
        "collected": info["collected"],
        "uncollectable": info["uncollectable"],
    }
    _log.info("Collected garbage.", extra={"fields": fields})
