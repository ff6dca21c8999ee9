"""How many connections outlive a request: what `/health` reports, and what a worker that drains waits for."""

from dataclasses import dataclass


@dataclass(slots=True)
class Connections:
    """Counts of one worker: open WebSockets and running streams."""

    websockets: int = 0
    streams: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.websockets + self.streams
