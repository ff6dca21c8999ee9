"""How much of a request is taken, and how long is waited for it."""

from dataclasses import dataclass

# How often the connections of a worker are looked at for deadlines that passed.
SWEEP_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one request; a deadline is noticed up to two sweeps late, and lingering comes on top.

    So a head that takes ten seconds is answered, and its connection closed, within ten; a body within thirty.
    """

    head_bytes: int = 16_384
    url_bytes: int = 8_192
    headers: int = 100
    body_bytes: int = 1_048_576
    # What is read of a refused request, so that a sender who does not read before it has sent all sees the answer.
    past_bytes: int = 32_768
    head_s: float = 8.5
    body_s: float = 28.5
    # How long a connection stays half open after a refusal: closed at once, unread bytes would make the system reset
    # it, which can destroy the answer on its way.
    linger_s: float = 0.3

    @property
    def wire_bytes(self) -> int:
        """What a chunked body may take on the wire: chunks of one byte cost six."""
        return 8 * self.body_bytes
