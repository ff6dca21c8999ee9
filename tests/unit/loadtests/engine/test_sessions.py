"""Session ids: in the allowed alphabet, shared exactly as the profile says."""

import re

import pytest

from loadtests.engine.sessions import create_session_ids


def test_a_user_keeps_its_session() -> None:
    ids = create_session_ids("per-user", "ab12")
    assert [ids(3, 1), ids(3, 2), ids(4, 1)] == [b"load-test-ab12-3", b"load-test-ab12-3", b"load-test-ab12-4"]


def test_fresh_sessions_are_never_shared() -> None:
    ids = create_session_ids("fresh", "ab12")
    assert ids(3, 17) == b"load-test-ab12-3-17"
    assert len({ids(user, iteration) for user in range(20) for iteration in range(20)}) == 400


def test_a_pool_is_used_in_turn() -> None:
    ids = create_session_ids(3, "ab12")
    drawn = [ids(1, 1) for _ in range(7)]
    assert len(set(drawn)) == 3
    assert drawn[:3] == drawn[3:6]


def test_ids_fit_the_contract_and_processes_do_not_collide() -> None:
    for mode in ("per-user", "fresh", 10):
        one, two = (create_session_ids(mode, "x" * 64, worker)(1_000_000, 1_000_000) for worker in (0, 7))
        assert one != two
        assert re.fullmatch(rb"[A-Za-z0-9._:-]{1,128}", two)


@pytest.mark.parametrize("short_id", ["", "a b", "a/b", "ä", "x" * 65, 'a"b'])
def test_a_short_id_no_session_may_hold_is_refused(short_id: str) -> None:
    with pytest.raises(ValueError, match="short id"):
        create_session_ids("fresh", short_id)
