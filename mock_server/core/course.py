"""What becomes of one call to a simulated provider, once its latency, its fault and its time-out are known."""

from typing import NamedTuple

from mock_server.core.faults import FailureKind, Fault
from mock_server.core.latency import Draw
from mock_server.core.pacing import count_due, due_s


class Course(NamedTuple):
    """`tokens` come, each when it is due; the call ends `ends_s` after its start, in `failure` or, when None, well.

    `is_injected` tells a failure that was asked for from an answer that was too slow.
    """

    tokens: int
    ends_s: float
    failure: FailureKind | None
    is_injected: bool


def plan_course(plan: Draw, fault: Fault | None, left_s: float) -> Course:
    """Returns the course of a call that may take `left_s`; whatever would take longer ends then, as a time-out."""
    course = _unbounded(plan, fault, left_s)
    if course.ends_s <= left_s:
        return course
    return Course(min(course.tokens, count_due(plan, left_s)), left_s, "timeout", False)


def _unbounded(plan: Draw, fault: Fault | None, left_s: float) -> Course:
    if fault is None:
        return Course(plan.tokens, plan.total_s, None, False)
    if fault.kind == "rate_limited":
        return Course(0, 0.0, "rate_limited", True)
    if fault.kind == "timeout":
        return Course(0, left_s, "timeout", True)
    if fault.kind == "error":
        return Course(0, plan.first_token_s, "error", True)
    # It breaks off when the next token would have come.
    return Course(fault.tokens, due_s(plan, fault.tokens), "truncated", True)
