"""A snapshot as a page of text for a person: grouped, aligned, absent fields with their reasons. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 100
_NAME_WIDTH = 27
_MARKS = {"identity": "=", "host": "~", "subject": "*", "volatile": " "}
_LONG_MAPPING = 24
_LAST_GROUP = "activity"


def render_page(snapshot: Mapping[str, Any]) -> str:
    """The page, at most WIDTH columns wide, ending with a newline."""
    lines = [
        f"Environment at {snapshot['taken_at']} (schema {snapshot['schema']}, taken in {snapshot['took_s']:.2f} s)",
        "= must match to compare   ~ should match   * expected to differ   (unmarked: never compared)",
    ]
    group = ""
    for name in sorted(snapshot["fields"], key=_place):
        field = snapshot["fields"][name]
        first, _, rest = name.partition(".")
        if first != group:
            group = first
            lines += ["", first]
        lines += _field_lines(f"{_MARKS[field['class']]} {rest}", field)
    return "\n".join(lines) + "\n"


def _place(name: str) -> tuple[bool, str]:
    group = name.partition(".")[0]
    return group == _LAST_GROUP, group


def _field_lines(label: str, field: Mapping[str, Any]) -> list[str]:
    if field["value"] is None:
        return _wrapped(label, f"absent: {field['reason']}")
    lines: list[str] = []
    for text in _texts(label, field["value"]):
        lines += _wrapped(label if not lines else "", text)
    return lines


def _texts(label: str, value: Any) -> Iterator[str]:
    """One text for each line a value deserves; a very long mapping is counted, the JSON lists it."""
    if isinstance(value, Mapping):
        if len(value) > _LONG_MAPPING:
            yield f"{len(value)} entries, listed in the JSON"
            return
        yield from (f"{key}: {_short(item)}" for key, item in value.items())
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        yield from (_short(item) for item in value)
    else:
        yield _size(value) if label.endswith("_bytes") else _short(value)


def _short(value: Any) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_short(item) for item in value)
    return str(value) if value != "" else "(empty)"


def _size(value: Any) -> str:
    return f"{value / 2**30:.2f} GiB" if isinstance(value, int) else str(value)


def _wrapped(label: str, text: str) -> list[str]:
    start = f"  {label:<{_NAME_WIDTH}} "
    lead = " " * len(start) if len(start) <= _NAME_WIDTH + 3 else " " * (_NAME_WIDTH + 3)
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=lead, break_long_words=True, break_on_hyphens=False
    ) or [start.rstrip()]
