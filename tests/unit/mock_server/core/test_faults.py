"""Which calls fail, and how far a truncated answer comes."""

from mock_server.core.faults import Fault, draw_fault
from mock_server.core.randomness import create_stream


def draw_many(ratio: float, kind: str, tokens: int = 10, count: int = 4000) -> list[Fault | None]:
    rng = create_stream(1, "faults")
    return [draw_fault(ratio, kind, tokens, rng) for _ in range(count)]  # type: ignore[arg-type]


def test_as_many_fail_as_the_ratio_says() -> None:
    assert not any(draw_many(0.0, "error"))
    assert all(draw_many(1.0, "error"))
    assert 0.28 < sum(fault is not None for fault in draw_many(0.3, "error")) / 4000 < 0.32


def test_which_calls_fail_depends_on_neither_kind_nor_a_higher_ratio() -> None:
    def numbers(ratio: float, kind: str) -> set[int]:
        return {number for number, fault in enumerate(draw_many(ratio, kind)) if fault}

    assert numbers(0.2, "error") == numbers(0.2, "truncated")
    assert numbers(0.2, "error") < numbers(0.5, "error")


def test_truncated_answers_give_some_tokens_and_never_all() -> None:
    given = [fault.tokens for fault in draw_many(0.5, "truncated", tokens=5) if fault]
    assert set(given) == {1, 2, 3, 4}
    assert max(given.count(tokens) for tokens in set(given)) < 1.25 * len(given) / 4
    assert {fault.tokens for fault in draw_many(1.0, "truncated", tokens=1) if fault} == {1}


def test_faults_are_named_as_clients_see_them() -> None:
    assert Fault("rate_limited").name == "provider-rate-limited"


def test_a_call_takes_one_number_whatever_the_ratio() -> None:
    for ratio in (0.0, 0.5, 1.0):
        rng, other = create_stream(1, "faults"), create_stream(1, "faults")
        for _ in range(20):
            draw_fault(ratio, "truncated", 9, rng)
            other.random()
        assert rng.random() == other.random()
