"""Latency, text, models, identity and random streams: the small pure parts of a simulated answer."""

import pytest

from mock_server.core.identity import address_digest, is_known, key_digest
from mock_server.core.latency import PROFILES, LatencyProfile, ProfileName, draw
from mock_server.core.models import CARDS, PROVIDERS, find_card
from mock_server.core.randomness import create_stream
from mock_server.core.text import build_answer, count_tokens


@pytest.mark.parametrize(
    ("name", "low_s", "high_s"),
    [
        ("instant", 0, 0),
        ("cached", 0.005, 0.005),
        ("gpt-4", 2, 10),
        ("gpt-3.5", 0.5, 3),
        ("claude", 1, 8),
        ("ollama", 0.5, 5),
    ],
)
def test_profiles_stay_within_their_stated_range(name: ProfileName, low_s: float, high_s: float) -> None:
    rng = create_stream(1, name)
    totals_s = [draw(PROFILES[name], rng).total_s for _ in range(2000)]
    assert low_s <= min(totals_s) + 1e-9
    assert max(totals_s) <= high_s + 1e-9
    assert max(totals_s) - min(totals_s) >= 0.9 * (high_s - low_s)


def test_token_counts_reach_both_bounds_and_no_further() -> None:
    rng = create_stream(1, "tokens")
    drawn = {draw(LatencyProfile((0.0, 0.0), 0.0, (3, 6)), rng).tokens for _ in range(500)}
    assert drawn == {3, 4, 5, 6}


def test_first_token_takes_its_share_and_the_rest_is_even() -> None:
    plan = draw(LatencyProfile((2.0, 2.0), 0.25, (5, 5)), create_stream(1))
    assert (plan.first_token_s, plan.between_tokens_s, plan.total_s) == (0.5, 0.375, 2.0)


def test_a_single_token_takes_the_whole_time() -> None:
    assert draw(LatencyProfile((2.0, 2.0), 0.25, (1, 1)), create_stream(1)).total_s == 2.0


def test_streams_repeat_and_do_not_move_one_another() -> None:
    latencies = create_stream(7, "latency", "openai")
    expected = [latencies.random() for _ in range(5)]
    again, faults = create_stream(7, "latency", "openai"), create_stream(7, "faults", "openai")
    mixed = []
    for _ in range(5):
        faults.random()
        mixed.append(again.random())
    assert mixed == expected
    assert create_stream(8, "latency", "openai").random() != expected[0]


@pytest.mark.parametrize("tokens", [1, 12, 4096])
def test_answer_has_as_many_words_as_tokens(tokens: int) -> None:
    assert len(build_answer(tokens, start=17).split()) == tokens


@pytest.mark.parametrize(("text", "tokens"), [("a", 1), ("abcd", 1), ("abcde", 2), ("x" * 400, 100)])
def test_four_characters_count_as_a_token(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@pytest.mark.parametrize(
    ("model", "provider", "label"),
    [
        ("gpt-4", "openai", "gpt-4"),
        ("gpt-9-giant", "openai", "other"),
        ("claude-x", "anthropic", "other"),
        ("llama", "ollama", "other"),
    ],
)
def test_every_model_has_a_provider_and_one_of_few_labels(model: str, provider: str, label: str) -> None:
    card = find_card(model)
    assert (card.provider, card.name) == (provider, label)


def test_cost_is_price_by_tokens_and_every_provider_has_a_card() -> None:
    assert find_card("gpt-4").cost(1000, 500) == pytest.approx(0.03 + 0.03)
    assert {card.provider for card in CARDS} == set(PROVIDERS)


@pytest.mark.parametrize("hostile", ["*", "{}", "a\r\nb", "\0", "x" * 1_000_000, "\ud800"])
def test_c10_digests_have_one_shape_whatever_the_key(hostile: str) -> None:
    digest = key_digest(hostile)
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")


def test_a_key_is_never_taken_for_an_address() -> None:
    assert key_digest("127.0.0.1") != address_digest("127.0.0.1")


def test_known_digests_are_found_wherever_they_stand() -> None:
    known = [key_digest(str(number)) for number in range(5)]
    assert all(is_known(digest, known) for digest in known)
    assert not is_known(key_digest("5"), known)
