"""Named sub-streams of one seed: drawing from one stream never moves another."""

import hashlib
import random


def create_stream(seed: int, *names: str | int) -> random.Random:
    """Returns the generator of the stream `names` under `seed`; the same arguments give the same draws."""
    text = "/".join([str(seed), *map(str, names)])
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
