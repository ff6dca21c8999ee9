"""How long a simulated provider takes: profiles as distributions, drawn from a generator that is given."""

import random
from dataclasses import dataclass
from typing import Literal, NamedTuple

Range = tuple[float, float]
ProfileName = Literal["instant", "cached", "gpt-4", "gpt-3.5", "claude", "ollama", "custom"]


@dataclass(frozen=True, slots=True)
class LatencyProfile:
    """Whole duration of an answer is uniform over `total_s`; its first token comes after `first_token_share` of it.

    `tokens` bounds the number of output tokens (inclusive).
    """

    total_s: Range
    first_token_share: float
    tokens: tuple[int, int]


class Draw(NamedTuple):
    """One answer's plan: seconds to the first token, seconds between later ones, and how many there are."""

    first_token_s: float
    between_tokens_s: float
    tokens: int

    @property
    def total_s(self) -> float:
        """Seconds from the call to the last token."""
        return self.first_token_s + self.between_tokens_s * (self.tokens - 1)


# Durations of gpt-4, gpt-3.5, claude and ollama are the typical ranges of the load-testing guide's provider table.
# `custom` is whatever its user says.
PROFILES: dict[ProfileName, LatencyProfile] = {
    "instant": LatencyProfile((0.0, 0.0), 0.0, (12, 24)),
    "cached": LatencyProfile((0.005, 0.005), 1.0, (12, 24)),
    "gpt-4": LatencyProfile((2.0, 10.0), 0.2, (40, 200)),
    "gpt-3.5": LatencyProfile((0.5, 3.0), 0.2, (40, 160)),
    "claude": LatencyProfile((1.0, 8.0), 0.2, (40, 200)),
    "ollama": LatencyProfile((0.5, 5.0), 0.3, (30, 120)),
}


def draw(profile: LatencyProfile, rng: random.Random) -> Draw:
    """Returns the next answer's plan."""
    low, high = profile.tokens
    tokens = low if low == high else low + int(rng.random() * (high - low + 1))
    shortest_s, longest_s = profile.total_s
    if longest_s == 0.0:
        return Draw(0.0, 0.0, tokens)
    total_s = shortest_s + rng.random() * (longest_s - shortest_s)
    if tokens == 1:
        return Draw(total_s, 0.0, 1)
    first_token_s = total_s * profile.first_token_share
    return Draw(first_token_s, (total_s - first_token_s) / (tokens - 1), tokens)
