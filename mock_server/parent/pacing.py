"""How soon a worker that died is replaced, so that one that cannot live does not eat the machine. Pure."""

LONG_LIFE_S = 10.0
LONGEST_DELAY_S = 10.0


class RestartPacer:
    """The first early death of a worker costs no wait, each further one in a row twice that before, from 1 s."""

    def __init__(self) -> None:
        self._early_deaths: dict[int, int] = {}

    def delay_s(self, worker: int, lived_s: float) -> float:
        """Returns the seconds to wait; a worker that lived for `LONG_LIFE_S` starts anew."""
        before = 0 if lived_s >= LONG_LIFE_S else self._early_deaths.get(worker, 0)
        self._early_deaths[worker] = before + 1
        return min(LONGEST_DELAY_S, 2.0 ** (before - 1)) if before else 0.0
