"""From a decoded JSON body to a change of providers, with every problem found at once. Pure."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mock_server.core.models import PROVIDERS
from mock_server.errors import InvalidContentError
from mock_server.services.consoul.providers import ProviderChange
from mock_server.settings import Settings, find_range

SETTABLE = tuple(ProviderChange.model_fields)
_NAMES = "providers"
_CUSTOM = "custom"

Problem = dict[str, str]


def parse_change(given: object) -> tuple[ProviderChange, tuple[str, ...]]:
    """Returns what to change and in which providers.

    Raises InvalidContentError, whose details list field and reason of everything wrong and never repeat a value.
    """
    if not isinstance(given, dict):
        raise InvalidContentError(details=[describe("body", "write a JSON object")])
    fields = {name: value for name, value in given.items() if name != _NAMES}
    problems = _name_problems(given[_NAMES]) if _NAMES in given else []
    if _CUSTOM in fields:
        # Latency that nobody turns to would be a change without effect.
        fields.setdefault("profile", _CUSTOM)
        if fields["profile"] != _CUSTOM:
            problems.append(describe(_CUSTOM, "goes with profile 'custom' only; leave one of them out"))
        if isinstance(fields[_CUSTOM], str):
            # The variable takes text.
            problems.append(describe(_CUSTOM, "write a JSON object"))
    if all(value is None for value in fields.values()):
        problems.append(describe("body", f"changes nothing; give one of {', '.join(SETTABLE)}"))
    try:
        change = ProviderChange.model_validate(fields, strict=True)
    except ValidationError as error:
        problems += [_describe(detail) for detail in error.errors(include_url=False, include_input=False)]
        raise InvalidContentError(details=problems) from None
    if problems:
        raise InvalidContentError(details=problems)
    return change, tuple(dict.fromkeys(given.get(_NAMES, PROVIDERS)))


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns the reason for refusing a name that is not known."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"no such name; did you mean {near[0]}?" if near else f"no such name; there are {', '.join(names)}"


def describe(field: str, reason: str) -> Problem:
    """Returns one entry of an error's details."""
    return {"field": field[:64], "reason": reason}


def _name_problems(names: object) -> list[Problem]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return [describe(_NAMES, f"write a list of one or more of {', '.join(PROVIDERS)}")]
    return [describe(_NAMES, suggest(name, PROVIDERS)) for name in names if name not in PROVIDERS]


def _describe(detail: ErrorDetails) -> Problem:
    field = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return describe(field, suggest(field, (*SETTABLE, _NAMES)))
    if detail["type"] == "value_error":
        return describe(field, _without_value(detail))
    bounds = find_range(f"provider_{field}")
    if bounds is not None:
        kind = "whole number" if Settings.model_fields[f"provider_{field}"].annotation is int else "number"
        return describe(field, f"must be a {kind} from {bounds[0]} to {bounds[1]}")
    return describe(field, detail["msg"])


def _without_value(detail: ErrorDetails) -> str:
    error: Any = detail.get("ctx", {}).get("error")
    return str(error).partition("; got")[0]
