"""A circuit breaker to be driven by hand."""

from mock_server.core.breaker import BreakerConfig, BreakerState, CircuitBreaker, Permit, Refusal


class Rig:
    """A breaker on a clock moved by hand, with the transitions it announced."""

    def __init__(self, **config: float) -> None:
        self.now_s = 0.0
        self.moves: list[tuple[BreakerState, BreakerState]] = []
        self.breaker = CircuitBreaker(
            BreakerConfig(**config),  # type: ignore[arg-type]
            lambda: self.now_s,
            lambda before, to: self.moves.append((before, to)),
        )

    def permit(self) -> Permit:
        permit = self.breaker.acquire()
        assert isinstance(permit, Permit)
        return permit

    def refusal(self) -> Refusal:
        refusal = self.breaker.acquire()
        assert isinstance(refusal, Refusal)
        return refusal

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.fail(self.permit())

    def count_until(self, outcome: str, state: BreakerState) -> int:
        """Returns how many calls ended so until the breaker was in that state."""
        number = 0
        while self.breaker.state is not state:
            getattr(self, outcome)()
            number += 1
        return number

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.succeed(self.permit())
