"""Who calls, and whether they may: API keys, tiers, rate limits."""

import math
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from mock_server.asgi import ANSWER_HEADERS, DEGRADED_HEADER, Headers, Scope
from mock_server.core.gcra import Verdict
from mock_server.core.identity import address_digest, is_known, key_digest
from mock_server.core.limits import Limit
from mock_server.errors import InvalidApiKeyError, InvalidContentError, RateLimitedError
from mock_server.metrics import Increment
from mock_server.settings import Settings
from mock_server.state.limiter import Limiter

DEFAULT_TIER = "default"


class Caller(msgspec.Struct, frozen=True, gc=False):
    """`identity` is a digest; `owner` is what sessions belong to: the key's digest, or None while auth is off."""

    identity: str
    tier: str
    owner: str | None


class Guard:
    """Authenticates, then charges the rate limit."""

    def __init__(self, settings: Settings, limiter: Limiter, decisions: Mapping[tuple[str, bool], Increment]):
        self._settings = settings
        self._limiter = limiter
        self._decisions = decisions

    def identify(self, scope: Scope) -> Caller:
        """Returns the caller; raises InvalidApiKeyError when auth is on and the key is missing or unknown."""
        return self.identify_key(_find_key(scope), scope)

    def identify_socket(self, scope: Scope) -> Caller:
        """Returns the caller of a WebSocket, whose key may also be the query's `api_key`; headers go first.

        With auth on, keys that differ are refused: which of them was meant nobody can tell.
        """
        keys = _list_keys(scope)
        if len(keys) > 1 and self._settings.api_key_digests:
            raise InvalidApiKeyError
        return self.identify_key(keys[0] if keys else None, scope)

    def identify_key(self, key: str | None, scope: Scope) -> Caller:
        """Returns the caller with this key, or without any; raises InvalidApiKeyError."""
        settings = self._settings
        known = settings.api_key_digests
        if key is None:
            if known:
                raise InvalidApiKeyError
            client = scope.get("client")
            return Caller(address_digest(client[0] if client else ""), DEFAULT_TIER, None)
        digest = key_digest(key)
        if known and not is_known(digest, known):
            raise InvalidApiKeyError
        return Caller(digest, settings.tier_by_digest.get(digest, DEFAULT_TIER), digest if known else None)

    async def charge(self, caller: Caller, scope: Scope, cost: int = 1) -> Headers:
        """Spends `cost` units of the caller's limits, returns the `RateLimit-*` headers; raises RateLimitedError.

        Raises InvalidContentError for messages that cost more than a limit admits at once: waiting would not help.
        """
        settings = self._settings
        if not settings.rate_limit_enabled:
            return []
        limits = settings.limits_of(caller.tier)
        if cost > 1:
            _refuse_impossible(limits, cost)
        verdict = await self._limiter.check(caller.identity, limits, cost)
        self._decisions[caller.tier, verdict.allowed](1)
        headers = _build_headers(verdict)
        scope[ANSWER_HEADERS] = headers
        if not verdict.allowed:
            raise RateLimitedError(
                f"The rate limit of {verdict.limit} is used up.", retry_after_s=verdict.retry_after_s
            )
        return headers


def _refuse_impossible(limits: tuple[Limit, ...], cost: int) -> None:
    least = min(limits, key=lambda limit: limit.count)
    if cost > least.count:
        reason = f"{cost} messages cost more than the limit of {least} ever admits; send {least.count} at most"
        raise InvalidContentError(details=[{"field": "messages", "reason": reason}])


def _build_headers(verdict: Verdict) -> Headers:
    headers = [
        (b"ratelimit-limit", b"%d" % verdict.limit.count),
        (b"ratelimit-remaining", b"%d" % verdict.remaining),
        (b"ratelimit-reset", b"%d" % math.ceil(verdict.reset_s)),
    ]
    if verdict.is_degraded:
        headers.append(DEGRADED_HEADER)
    return headers


def _list_keys(scope: Scope) -> list[str]:
    """Returns every different key of headers and query, in the order they count; empty ones count as none."""
    headers = scope["headers"]
    found = [str(value.strip(), "latin-1") for name, value in headers if name == b"x-api-key"]
    found += [
        str(value[7:].strip(), "latin-1")
        for name, value in headers
        if name == b"authorization" and value[:7].lower() == b"bearer "
    ]
    query = parse_qsl(str(scope["query_string"], "latin-1"), encoding="latin-1")
    found += [value.strip() for name, value in query if name == "api_key"]
    return list(dict.fromkeys(key for key in found if key))


def _find_key(scope: Scope) -> str | None:
    """Returns the key of `X-API-Key`, else of `Authorization: Bearer`; empty ones count as none."""
    bearer = None
    for name, value in scope["headers"]:
        if name == b"x-api-key" and value.strip():
            return str(value.strip(), "latin-1")
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = str(value[7:].strip(), "latin-1") or None
    return bearer
