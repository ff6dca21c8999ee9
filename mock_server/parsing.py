"""Values of variables that are more than a number: keys, tiers, URLs, profiles. Every refusal is a ValueError."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from redis.asyncio.connection import parse_url

from mock_server.core.identity import key_digest
from mock_server.core.latency import LatencyProfile
from mock_server.core.limits import Limit, parse_limits


def parse_keys(value: Any) -> frozenset[str]:
    """Returns the digests of a comma list or JSON list of API keys."""
    text = str(value).strip()
    keys = _load_json(text, list) if text.startswith("[") else text.split(",")
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("every key must be a string")
    digests = frozenset(_digest(key.strip()) for key in keys if key.strip())
    if text and not digests:
        raise ValueError("it names no key; to have no authentication, leave it unset")
    return digests


def parse_tier_keys(value: Any) -> Mapping[str, str]:
    """Returns digest of key → tier from a JSON object key → tier."""
    return {_digest(key): tier for key, tier in _load_strings(value).items()}


def parse_tier_limits(value: Any) -> Mapping[str, tuple[Limit, ...]]:
    """Returns tier → limits from a JSON object tier → text of limits."""
    return {tier: parse_limits(text) for tier, text in _load_strings(value).items()}


def _digest(key: str) -> str:
    # In what encoding a client would send any other character, HTTP does not say: such a key might never match.
    if not (key.isascii() and key.isprintable()):
        raise ValueError("a key may hold printable ASCII characters only")
    return key_digest(key)


def parse_redis_url(value: SecretStr | None) -> SecretStr | None:
    """Returns the URL when redis-py understands it; the refusal never repeats it, since it may hold a password."""
    if value is None or not value.get_secret_value():
        return None
    wanted = "write redis://[user:password@]host:port/database, rediss://… or unix://path"
    try:
        parse_url(value.get_secret_value())
        parts = urlsplit(value.get_secret_value())
        # redis-py takes database 0 for what it cannot read.
        if parts.scheme != "unix" and parts.path.strip("/"):
            int(parts.path.strip("/"))
    except (ValueError, AttributeError) as error:
        raise ValueError(wanted) from error
    return value


def parse_custom_profile(value: Any) -> LatencyProfile | None:
    """Returns the profile of `{"total_s": [low, high], "first_token_share": 0..1, "tokens": [low, high]}`.

    Takes the object or its JSON text; None and an empty text are no profile.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    given = _load_json(value.strip(), dict) if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise ValueError(f"write a JSON object; got {type(given).__name__}")
    wanted = {"total_s", "first_token_share", "tokens"}
    if set(given) != wanted:
        raise ValueError(
            f"keys must be {', '.join(sorted(wanted))}; got {', '.join(sorted(map(str, given))) or 'none'}"
        )
    low_s, high_s = _pair(given, "total_s", 0, 3600)
    low, high = _pair(given, "tokens", 1, 4096)
    if low % 1 or high % 1:
        raise ValueError(f"tokens must be whole numbers; got {given['tokens']!r}")
    share = given["first_token_share"]
    if not _is_number(share) or not 0 <= share <= 1:
        raise ValueError(f"first_token_share must be 0 to 1; got {share!r}")
    return LatencyProfile((low_s, high_s), float(share), (int(low), int(high)))


def _pair(given: Mapping[str, Any], name: str, least: float, most: float) -> tuple[float, float]:
    pair = given[name]
    if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_number, pair)):
        raise ValueError(f"{name} must be [low, high]; got {pair!r}")
    low, high = pair
    if not least <= low <= high <= most:
        raise ValueError(f"{name} must satisfy {least} <= low <= high <= {most}; got {pair!r}")
    return float(low), float(high)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _load_strings(value: Any) -> dict[str, str]:
    text = str(value).strip()
    given = _load_json(text, dict) if text else {}
    if not all(isinstance(key, str) and isinstance(entry, str) and key and entry for key, entry in given.items()):
        raise ValueError('write a JSON object of strings, like {"name":"value"}')
    return given


def _load_json(text: str, kind: type) -> Any:
    try:
        loaded = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error.args[0].partition(':')[0]}") from None
    if not isinstance(loaded, kind):
        raise ValueError(f"write a JSON {'list' if kind is list else 'object'}")
    return loaded
