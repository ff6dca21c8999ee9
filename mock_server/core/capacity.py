"""How a provider with a bounded capacity slows down under load: it answers in steps, a batch of calls in each.

A step that serves n calls, at most B (the batch size) of them, takes

    s(n) = (B / C) * (a + (1 - a) * n / B)        a = 0.5

seconds, where C is the capacity in answers a second. A full step takes B / C and so gives C answers a second, which
no fuller one could exceed and no emptier one reaches: the knee lies at exactly C. A call waits for the step under way
to end and then for its own. Below the knee, with more than one call in a step, each step serves what came during the
one before it, n = rate * s, which gives the steady step time

    s(rate) = (B / C) * a / (1 - (1 - a) * rate / C)

and a mean wait of one and a half of it. Beyond the knee the queue grows by (rate - C) calls a second.
"""

# The share of a full step's time that a step takes however few calls it serves.
FIXED_SHARE = 0.5


def step_s(calls: int, capacity: float, batch_size: int) -> float:
    """Returns the seconds a step takes that serves `calls`, from 1 to `batch_size`."""
    full_s = batch_size / capacity
    return full_s * (FIXED_SHARE + (1 - FIXED_SHARE) * calls / batch_size)


def steady_step_s(rate: float, capacity: float, batch_size: int) -> float:
    """Returns the steady step time at `rate` calls a second; from the knee on, that of a full step."""
    full_s = batch_size / capacity
    return min(full_s, full_s * FIXED_SHARE / (1 - (1 - FIXED_SHARE) * min(rate / capacity, 1.0)))


def mean_wait_s(rate: float, capacity: float, batch_size: int) -> float:
    """Returns how long a call waits on average below the knee: half a step until its own begins, and its own."""
    return 1.5 * steady_step_s(rate, capacity, batch_size)
