"""When tokens are due, and what a call comes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.core.course import Course, plan_course
from mock_server.core.faults import Fault
from mock_server.core.latency import Draw
from mock_server.core.pacing import count_due, due_s

PLAN = Draw(0.4, 0.1, 5)


@pytest.mark.parametrize(
    ("elapsed_s", "due"), [(0.0, 0), (0.399, 0), (0.4, 1), (0.499, 1), (0.5, 2), (0.79, 4), (0.8, 5), (99.0, 5)]
)
def test_tokens_are_due_at_their_moments(elapsed_s: float, due: int) -> None:
    assert count_due(PLAN, elapsed_s) == due


def test_without_time_between_them_all_are_due_with_the_first() -> None:
    plan = Draw(0.4, 0.0, 5)
    assert (count_due(plan, 0.39), count_due(plan, 0.4)) == (0, 5)
    assert count_due(Draw(0.0, 0.0, 5), 0.0) == 5


@given(
    first_s=st.floats(0, 100),
    between_s=st.floats(1e-6, 10),
    tokens=st.integers(1, 4096),
    share=st.floats(0, 1),
)
def test_each_is_due_at_its_moment_and_not_before(
    first_s: float, between_s: float, tokens: int, share: float
) -> None:
    plan = Draw(first_s, between_s, tokens)
    index = int(share * (tokens - 1))
    assert count_due(plan, due_s(plan, index)) >= index + 1
    assert count_due(plan, due_s(plan, index) - between_s / 2) <= index + 1
    assert count_due(plan, due_s(plan, tokens)) == tokens


@pytest.mark.parametrize(
    ("fault", "left_s", "course"),
    [
        (None, 1.0, Course(5, 0.8, None, False)),
        (None, 0.8, Course(5, 0.8, None, False)),
        (None, 0.65, Course(3, 0.65, "timeout", False)),
        (None, 0.2, Course(0, 0.2, "timeout", False)),
        (Fault("error"), 1.0, Course(0, 0.4, "error", True)),
        (Fault("error"), 0.3, Course(0, 0.3, "timeout", False)),
        (Fault("timeout"), 9.0, Course(0, 9.0, "timeout", True)),
        (Fault("rate_limited"), 9.0, Course(0, 0.0, "rate_limited", True)),
        (Fault("truncated", 2), 9.0, Course(2, 0.6, "truncated", True)),
        (Fault("truncated", 4), 0.45, Course(1, 0.45, "timeout", False)),
    ],
)
def test_what_a_call_comes_to(fault: Fault | None, left_s: float, course: Course) -> None:
    found = plan_course(PLAN, fault, left_s)
    assert found.ends_s == pytest.approx(course.ends_s)
    assert found._replace(ends_s=course.ends_s) == course
