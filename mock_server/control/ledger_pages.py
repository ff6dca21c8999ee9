"""Reading the ledger over all workers: the query as a value, and the workers' pages as one. Pure."""

import heapq
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from mock_server.control.change import Problem, describe, suggest
from mock_server.control.wire import LedgerPage, ReadLedger
from mock_server.errors import InvalidContentError
from mock_server.metrics import TRANSPORTS

DEFAULT_LIMIT = 1000
MOST_ENTRIES = 10_000
_LONGEST_REQUEST_ID = 128
_CURSOR = re.compile(r"([0-9]{1,10}):([0-9]{1,18})")
_NAMES = ("request_id", "after", "limit", "transport")


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """Which entries are wanted; `after` is process id → number of the last entry of it that is known already."""

    request_id: str | None = None
    transport: str | None = None
    after: Mapping[int, int] = field(default_factory=dict)
    limit: int = DEFAULT_LIMIT

    def command_for(self, pid: int) -> ReadLedger:
        """Returns what to ask of one worker."""
        return ReadLedger(self.after.get(pid, 0), self.limit, self.request_id, self.transport)


def parse_query(text: str) -> LedgerQuery:
    """Returns the query a URL asks; raises InvalidContentError with every problem, without repeating a value."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=2 * len(_NAMES))
    except ValueError:
        raise InvalidContentError(details=[describe("query", "has too many fields")]) from None
    given = dict(pairs)
    problems: list[Problem] = [describe(name, suggest(name, _NAMES)) for name in given if name not in _NAMES]
    if len(given) < len(pairs):
        problems.append(describe("query", "names a field twice"))
    query = LedgerQuery(
        given.get("request_id"),
        given.get("transport"),
        _parse_after(given.get("after", ""), problems),
        _parse_limit(given.get("limit", ""), problems),
    )
    if query.request_id is not None and not 0 < len(query.request_id) <= _LONGEST_REQUEST_ID:
        problems.append(describe("request_id", f"must have 1 to {_LONGEST_REQUEST_ID} characters"))
    if query.transport is not None and query.transport not in TRANSPORTS:
        problems.append(describe("transport", suggest(query.transport, TRANSPORTS)))
    if problems:
        raise InvalidContentError("Fields of the query are not allowed.", details=problems)
    return query


def _parse_after(text: str, problems: list[Problem]) -> dict[int, int]:
    matches = [_CURSOR.fullmatch(part) for part in text.split(",") if text]
    if None in matches:
        problems.append(describe("after", "write PID:NUMBER, several joined with ',': 'next' of an earlier answer"))
    return {int(match[1]): int(match[2]) for match in matches if match is not None}


def _parse_limit(text: str, problems: list[Problem]) -> int:
    if not text:
        return DEFAULT_LIMIT
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_ENTRIES:
        return int(text)
    problems.append(describe("limit", f"must be a whole number from 1 to {MOST_ENTRIES}"))
    return DEFAULT_LIMIT


def merge_pages(pages: Mapping[int, LedgerPage], query: LedgerQuery) -> dict[str, Any]:
    """Returns the answer to a query: entries of all workers, the newest last, and what each ring holds.

    A worker's own entries stay in the order of their numbers, whatever the wall clock did.
    """
    merged = heapq.merge(*(_read(pid, page) for pid, page in pages.items()), key=_start)
    entries = list(itertools.islice(merged, query.limit))
    reached = {pid: page.read_to for pid, page in pages.items()}
    left_out: set[int] = set()
    for entry in merged:
        if entry["pid"] not in left_out:
            left_out.add(entry["pid"])
            reached[entry["pid"]] = entry["number"] - 1
    rings = [
        {
            "worker": page.worker,
            "pid": pid,
            "first": page.first,
            "last": page.last,
            "capacity": page.capacity,
            "missed": max(0, page.first - 1 - query.after.get(pid, 0)),
        }
        for pid, page in sorted(pages.items(), key=lambda item: (item[1].worker, item[0]))
    ]
    return {
        "entries": entries,
        "next": ",".join(f"{pid}:{number}" for pid, number in sorted(reached.items())),
        "is_complete": all(reached[pid] >= page.last for pid, page in pages.items()),
        "rings": rings,
    }


def _read(pid: int, page: LedgerPage) -> Iterator[dict[str, Any]]:
    for raw in page.entries:
        kept = msgspec.json.decode(raw)
        yield {"worker": page.worker, "pid": pid, "number": kept["number"], **kept["entry"]}


def _start(entry: dict[str, Any]) -> float:
    started_s: float = entry["started_s"]
    return started_s
