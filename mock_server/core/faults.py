"""Which calls to a simulated provider fail, and how: one number for each call, so that no setting moves another's."""

import random
from typing import Literal, NamedTuple

# error: fails instead of its first token; timeout: gives nothing until the caller's time-out; rate_limited: refuses
# at once; truncated: breaks off after some of its tokens.
FailureKind = Literal["error", "timeout", "rate_limited", "truncated"]


class Fault(NamedTuple):
    """One call's failure; `tokens` is how many of them are given before a truncated answer breaks off."""

    kind: FailureKind
    tokens: int = 0

    @property
    def name(self) -> str:
        """What the header `X-Mock-Fault` and the ledger call it."""
        return "provider-" + self.kind.replace("_", "-")


def draw_fault(ratio: float, kind: FailureKind, tokens: int, rng: random.Random) -> Fault | None:
    """Returns the fault of a call that would give `tokens`, or None; takes exactly one number from `rng`.

    Which calls fail at a ratio fail at every higher one too. A truncated answer gives at least one token and, where
    it has two or more, lacks at least one; how many is even over that range.
    """
    drawn = rng.random()
    if drawn >= ratio:
        return None
    if kind != "truncated":
        return Fault(kind)
    return Fault(kind, 1 + int(drawn / ratio * (tokens - 1)))
