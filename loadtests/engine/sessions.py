"""Session ids of a run: short, unlike those of any other run, in the alphabet every target accepts. Pure."""

import itertools
import re
from collections.abc import Callable
from typing import Literal

_ALPHABET = re.compile(r"[A-Za-z0-9._:-]{1,64}")

SessionIds = Callable[[int, int], bytes]


def create_session_ids(mode: Literal["per-user", "fresh"] | int, short_id: str, worker: int = 0) -> SessionIds:
    """Gives the session id of an iteration from the numbers of its user and of the iteration.

    `per-user`: one for each user. `fresh`: one for each iteration. A number: a pool of that many, taken in turn, so
    that two requests of one session are as far apart as can be. Raises ValueError for a short id no session may hold.
    """
    if not _ALPHABET.fullmatch(short_id):
        raise ValueError(f"short id: got {short_id!r}, want 1 to 64 characters of A-Z a-z 0-9 . _ : -")
    prefix = f"load-test-{short_id}-" + (f"w{worker}-" if worker else "")
    if mode == "per-user":
        return lambda user, _: f"{prefix}{user}".encode()
    if mode == "fresh":
        return lambda user, iteration: f"{prefix}{user}-{iteration}".encode()
    pool = [f"{prefix}pool-{number}".encode() for number in range(mode)]
    turns = itertools.cycle(pool)
    return lambda _, __: next(turns)
