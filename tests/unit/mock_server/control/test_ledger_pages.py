import dataclasses

import pytest

from mock_server.control.ledger_pages import LedgerQuery, merge_pages, parse_query
from mock_server.control.wire import LedgerPage, ReadLedger, encode_kept
from mock_server.core.ledger import Entry, Runs
from mock_server.errors import InvalidContentError


def build_page(worker: int, starts: dict[int, float], first: int = 1, last: int = 0, read_to: int = 0) -> LedgerPage:
    """`starts` is number → start of the entries the worker returned."""
    entries = [encode_kept(number, build_entry(started_s)) for number, started_s in starts.items()]
    last = last or max(starts, default=0)
    return LedgerPage(worker, first, last, 10, read_to or last, entries)


def build_entry(started_s: float) -> Entry:
    return Entry(
        f"r{started_s}", "http", "openai", "gpt-4", started_s, 0.5, 0.1, 3, sent_s=Runs([(0.5, 1), (0.7, 2)])
    )


def test_the_query_of_no_words_is_for_the_first_thousand() -> None:
    assert parse_query("") == LedgerQuery(None, None, {}, 1000)


def test_each_worker_is_asked_beyond_its_own_number() -> None:
    query = parse_query("request_id=a%3Ab&transport=sse&after=12:7,13:0&limit=10000")
    assert query == LedgerQuery("a:b", "sse", {12: 7, 13: 0}, 10_000)
    assert query.command_for(12) == ReadLedger(7, 10_000, "a:b", "sse")
    assert query.command_for(99) == ReadLedger(0, 10_000, "a:b", "sse")


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("limit=0", "limit", "from 1 to 10000"),
        ("limit=10001", "limit", "from 1 to 10000"),
        ("limit=100000000000", "limit", "from 1 to 10000"),
        ("limit=-1", "limit", "from 1 to 10000"),
        ("limit=%C2%B2", "limit", "from 1 to 10000"),
        ("after=7", "after", "PID:NUMBER"),
        ("after=1:2,", "after", "PID:NUMBER"),
        ("transport=web", "transport", "no such name; "),
        ("transport=htttp", "transport", "did you mean http?"),
        ("request_id=", "request_id", "1 to 128"),
        ("request_id=" + "r" * 129, "request_id", "1 to 128"),
        ("request-id=r", "request-id", "did you mean request_id?"),
        ("limit=1&limit=2", "query", "twice"),
        ("&".join(f"limit={number}" for number in range(100)), "query", "too many"),
    ],
)
def test_a_wrong_query_is_refused_with_the_reason(text: str, field: str, reason: str) -> None:
    with pytest.raises(InvalidContentError) as caught:
        parse_query(text)
    assert [problem["field"] for problem in caught.value.details] == [field]
    assert reason in caught.value.details[0]["reason"]


def test_entries_of_all_workers_come_in_order_of_start_with_everything_they_say() -> None:
    merged = merge_pages({7: build_page(0, {1: 10.0, 2: 30.0}), 8: build_page(1, {1: 20.0})}, LedgerQuery())
    assert [(entry["worker"], entry["pid"], entry["number"]) for entry in merged["entries"]] == [
        (0, 7, 1),
        (1, 8, 1),
        (0, 7, 2),
    ]
    said = {name: value for name, value in merged["entries"][0].items() if name not in ("worker", "pid", "number")}
    assert said == dataclasses.asdict(build_entry(10.0)) | {"sent_s": [[0.5, 1], [0.7, 2]]}
    assert (merged["next"], merged["is_complete"]) == ("7:2,8:1", True)


def test_a_wall_clock_that_steps_back_does_not_reorder_one_worker() -> None:
    merged = merge_pages({7: build_page(0, {1: 30.0, 2: 10.0})}, LedgerQuery())
    assert [entry["number"] for entry in merged["entries"]] == [1, 2]


def test_what_the_limit_cuts_off_comes_next() -> None:
    pages = {7: build_page(0, {1: 10.0, 4: 40.0}, last=6, read_to=5), 8: build_page(1, {3: 20.0, 9: 50.0})}
    merged = merge_pages(pages, LedgerQuery(limit=2))
    assert [(entry["pid"], entry["number"]) for entry in merged["entries"]] == [(7, 1), (8, 3)]
    assert (merged["next"], merged["is_complete"]) == ("7:3,8:8", False)


def test_a_page_that_a_worker_cut_goes_on_where_it_was_cut() -> None:
    merged = merge_pages({7: build_page(0, {1: 10.0}, last=6, read_to=4)}, LedgerQuery())
    assert (merged["next"], merged["is_complete"]) == ("7:4", False)


@pytest.mark.parametrize(("after", "missed"), [({}, 10), ({7: 4}, 6), ({7: 10}, 0), ({7: 12}, 0), ({99: 4}, 10)])
def test_a_ring_says_what_it_lost(after: dict[int, int], missed: int) -> None:
    merged = merge_pages({7: build_page(3, {}, first=11, last=20)}, LedgerQuery(after=after))
    ring = {"worker": 3, "pid": 7, "first": 11, "last": 20, "capacity": 10, "missed": missed}
    assert merged["rings"] == [ring]
