import gc
import sys

from mock_server.core.ledger import Entry, Ledger, Runs


def fill(ledger: Ledger, count: int) -> None:
    for number in range(count):
        ledger.record(Entry(f"r{number}", "http", "openai", "gpt-4", float(number), 0.0, 0.0, 1))


def numbers(ledger: Ledger, after: int = 0) -> list[int]:
    return [number for number, _ in ledger.newer(after)]


def test_an_empty_ledger_holds_from_one_to_nothing() -> None:
    ledger = Ledger(3)
    assert (ledger.first, ledger.last, ledger.newer()) == (1, 0, [])


def test_the_ring_keeps_the_newest_and_says_which() -> None:
    ledger = Ledger(3)
    fill(ledger, 10)
    assert (ledger.first, ledger.last) == (8, 10)
    assert [(number, entry.request_id) for number, entry in ledger.newer()] == [(8, "r7"), (9, "r8"), (10, "r9")]


def test_only_what_is_newer_is_returned() -> None:
    ledger = Ledger(3)
    fill(ledger, 10)
    assert [numbers(ledger, after) for after in (0, 7, 8, 9, 10, 99)] == [[8, 9, 10]] * 2 + [[9, 10], [10], [], []]


def test_numbers_go_on_after_it_was_cleared() -> None:
    ledger = Ledger(3)
    fill(ledger, 2)
    ledger.clear()
    assert (ledger.first, ledger.last, ledger.newer()) == (3, 2, [])
    fill(ledger, 1)
    assert (ledger.first, numbers(ledger)) == (3, [3])


def test_what_is_returned_stays_whole_while_more_is_recorded() -> None:
    ledger = Ledger(3)
    fill(ledger, 3)
    kept = ledger.newer()
    fill(ledger, 3)
    assert [number for number, _ in kept] == [1, 2, 3]


def test_runs_are_read_as_they_were_added_and_take_little() -> None:
    runs = Runs([(0.1, 1)])
    runs.append(0.30000000000000004, 4096)
    assert list(runs) == list(runs) == [(0.1, 1), (0.30000000000000004, 4096)]
    assert [type(count) for _, count in runs] == [int, int]
    for number in range(10_000):
        runs.append(number / 7, 1)
    tracked = gc.get_referents(runs)
    assert sum(map(sys.getsizeof, tracked)) < 10_000 * 20
