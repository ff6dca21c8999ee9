"""What parsers let through that no request may hold: doubled keys, numbers beyond range, half characters. Pure."""

import json
import math
import re
from typing import Any, NoReturn

_find_surrogate = re.compile(r"\\u[dD][89a-fA-F]").search


class _FlawError(ValueError):
    """Names the flaw; never what was read."""


def find_flaw(body: bytes) -> str | None:
    """Returns what is wrong with `body` as strict JSON, None when nothing is.

    A doubled key means one thing to one reader and another to the next. Costs some ten times what a fast parser does,
    so callers ask only where `body` may hold more than they know of.
    """
    try:
        text = body.decode()
        found = json.loads(
            text, object_pairs_hook=_build_object, parse_constant=_refuse_constant, parse_float=_parse_number
        )
        if _find_surrogate(text):
            # Fails on half of a character, which would fail later, wherever the text is written.
            json.dumps(found, ensure_ascii=False).encode()
    except _FlawError as error:
        return str(error)
    except UnicodeEncodeError:
        return "half of a surrogate pair"
    except UnicodeDecodeError:
        return "not UTF-8"
    except RecursionError:
        return "nested too deeply"
    except ValueError:
        return "not JSON, or a number of too many digits"
    return None


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _FlawError("a key occurs twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise _FlawError("not a number of JSON")


def _parse_number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _FlawError("a number out of range")
    return number
