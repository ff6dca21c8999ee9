"""The control plane that the README describes is the one there is."""

import dataclasses
import re
from pathlib import Path

from mock_server.control.change import SETTABLE
from mock_server.control.http import ROUTES
from mock_server.core.ledger import Entry

README = (Path(__file__).parents[2] / "mock_server" / "README.md").read_text()


def test_the_table_of_endpoints_is_that_of_the_code() -> None:
    written = re.findall(r"^\| `([A-Z]+) (/_mock/[a-z/]+)` \|", README, re.M)
    assert sorted(written) == sorted((method, path) for path, methods in ROUTES.items() for method in methods)


def test_the_fields_of_a_change_are_those_of_the_code() -> None:
    (row,) = re.findall(r"^\| `PATCH /_mock/provider` \|([^|]*)\|", README, re.M)
    assert set(re.findall(r"`(\w+)`", row)) == {*SETTABLE, "providers"}


def test_every_field_of_an_entry_is_described() -> None:
    section = README.partition("**The ledger**")[2].partition("To read all of it")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    written = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    fields = {field.name for field in dataclasses.fields(Entry)}
    assert written == fields | {"worker", "pid", "number"}
