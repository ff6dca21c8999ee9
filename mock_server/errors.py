"""Errors of the mock, split by who must act. The HTTP ones carry everything the one error shape says.

MockError
├── SettingsError             the operator: names or values of variables, all problems at once   (exit 2)
├── PortTakenError            the operator: the port and, when it can be found, its owner        (exit 1)
├── MetricsFolderError        the operator: where the workers' metrics cannot be kept, and why   (exit 1)
└── RequestError              answered to the client as {code, error, message, …}
    ├── OtherClientError      4xx E007   a refusal by the framework that has no class here
    ├── UnknownMessageTypeError 400 E001
    ├── InvalidJsonError      400 E002   ├── InvalidContentError   422 E003   ├── NotFoundError     404 E004
    ├── MethodNotAllowedError 405 E005   ├── RequestTooLargeError  413 E006   ├── InvalidApiKeyError 401 E011
    ├── RequestTimeoutError   408 E008   ├── UrlTooLongError       414 E010   ├── HeadTooLargeError  431 E009
    ├── InvalidControlTokenError 401 E013 ─ ForeignOriginError 403 E014  (control plane)
    ├── SessionNotFoundError  404 E012   ├── RateLimitedError      429 E020   ├── OverloadedError   503 E120
    ├── StorageUnavailableError 503 E110 ── StorageSaturatedError 503 E111
    ├── ShuttingDownError     503 E121   ├── WorkerSilentError 503 E130
    ├── ProviderFailedError   503 E200   ── ProviderTimeoutError 503 E204, ProviderRateLimitedError 503 E205,
    │                                       ProviderSaturatedError 503 E208, ProviderTruncatedError 503 E209
    ├── CircuitOpenError      503 E206   ── CircuitHalfOpenFullError 503 E207
    └── InternalError         500 E900

502 E140 and 504 E141 come from the nginx of several instances (`lab/nginx.py`), in the same shape.
"""

import functools
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar


class MockError(Exception):
    """Base of every error this package raises on purpose."""


class SettingsError(MockError):
    """The environment asks for something that cannot be done; one line for each problem."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class PortTakenError(MockError):
    """A port the mock must listen on cannot be bound."""

    exit_code = 1


class MetricsFolderError(MockError):
    """The folder that the workers share their metrics in cannot be made."""

    exit_code = 1


class RequestError(MockError):
    """A request refused or failed; `error_type` is its label in `consoul_errors_total`."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "E007"
    error: ClassVar[str] = "bad_request"
    text: ClassVar[str] = "The request cannot be handled."
    recoverable: ClassVar[bool] = False
    error_type: str = "client_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        details: Any = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        fault: str | None = None,
    ):
        """`fault` names the injected failure behind this error, so that nobody takes it for a real one.

        It is a header, and in the body's details for those who get no headers.
        """
        self.message = message or self.text
        self.retry_after_s = retry_after_s
        self.details = details
        self.headers = tuple(headers)
        if fault is not None:
            self.error_type = "injected"
            self.details = {"fault": fault} if details is None else details
            self.headers += ((b"x-mock-fault", fault.encode("ascii")),)
        super().__init__(self.message)


class OtherClientError(RequestError):
    """A refusal by the framework that has no class of its own; carries its own status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.actual_status = status


class UnknownMessageTypeError(RequestError):
    code, error, text = (
        "E001",
        "unknown_message_type",
        "The type of the message is missing or not known; 'message' is.",
    )


class InvalidJsonError(RequestError):
    code, error, text = "E002", "invalid_json", "The body is not valid JSON."


class InvalidApiKeyError(RequestError):
    status, code, error = 401, "E011", "invalid_api_key"
    text = "A valid API key is required, in X-API-Key or as Authorization: Bearer."

    def __init__(self) -> None:
        super().__init__(headers=[(b"www-authenticate", b'Bearer realm="consoul"')])


class InvalidControlTokenError(RequestError):
    status, code, error = 401, "E013", "invalid_control_token"
    text = "The control plane wants its token, as Authorization: Bearer."

    def __init__(self) -> None:
        super().__init__(headers=[(b"www-authenticate", b'Bearer realm="mock-control"')])


class ForeignOriginError(RequestError):
    status, code, error = 403, "E014", "origin_refused"
    text = "The control plane takes no requests from pages in a browser."


class NotFoundError(RequestError):
    status, code, error, text = 404, "E004", "not_found", "There is nothing at this path."


class SessionNotFoundError(RequestError):
    status, code, error, text = 404, "E012", "session_not_found", "There is no such session for this API key."


class MethodNotAllowedError(RequestError):
    status, code, error, text = 405, "E005", "method_not_allowed", "This path does not take this method."


class RequestTooLargeError(RequestError):
    status, code, error, text = 413, "E006", "request_too_large", "The body is larger than this server accepts."


class RequestTimeoutError(RequestError):
    status, code, error, text = 408, "E008", "request_timeout", "The request took too long to come in."
    recoverable = True


class UrlTooLongError(RequestError):
    status, code, error, text = 414, "E010", "url_too_long", "The URL is longer than this server accepts."


class HeadTooLargeError(RequestError):
    status, code, error = 431, "E009", "head_too_large"
    text = "The request's head is larger, or has more headers, than this server accepts."


class InvalidContentError(RequestError):
    status, code, error, text = 422, "E003", "invalid_content", "Fields of the body are missing or not allowed."


class RateLimitedError(RequestError):
    status, code, error, text = 429, "E020", "rate_limited", "The rate limit is used up."
    recoverable, error_type = True, "rate_limited"


class StorageUnavailableError(RequestError):
    status, code, error, text = 503, "E110", "session_storage_unavailable", "The session storage does not answer."
    recoverable, error_type = True, "server_error"


class StorageSaturatedError(StorageUnavailableError):
    code, error, text = "E111", "session_storage_saturated", "Too many calls wait for the session storage."


class OverloadedError(RequestError):
    status, code, error, text = 503, "E120", "overloaded", "Too many requests are in flight."
    recoverable, error_type = True, "server_error"


class ShuttingDownError(RequestError):
    status, code, error, text = 503, "E121", "shutting_down", "The server ended before the request did."
    recoverable, error_type = True, "server_error"


class WorkerSilentError(RequestError):
    status, code, error, text = 503, "E130", "worker_silent", "A worker did not answer in time."
    recoverable, error_type = True, "server_error"


class ProviderFailedError(RequestError):
    status, code, error, text = 503, "E200", "provider_error", "The provider failed."
    recoverable, error_type = True, "server_error"


class ProviderTimeoutError(ProviderFailedError):
    code, error, text = "E204", "provider_timeout", "The provider did not answer in time."


class ProviderRateLimitedError(ProviderFailedError):
    code, error, text = "E205", "provider_rate_limited", "The provider refused the call for its own rate limit."


class ProviderSaturatedError(ProviderFailedError):
    code, error, text = "E208", "provider_pool_exhausted", "No connection to the provider became free in time."


class ProviderTruncatedError(ProviderFailedError):
    code, error, text = "E209", "provider_truncated", "The provider's answer broke off before its end."


class CircuitOpenError(RequestError):
    status, code, error, text = 503, "E206", "circuit_open", "The provider failed too often; calls to it are paused."
    recoverable, error_type = True, "circuit_open"


class CircuitHalfOpenFullError(CircuitOpenError):
    code, error, text = (
        "E207",
        "circuit_half_open_full",
        "The provider is being probed; no more calls for the moment.",
    )


class InternalError(RequestError):
    status, code, error, text = 500, "E900", "internal_error", "The server failed to handle the request."
    recoverable, error_type = True, "unhandled_exception"


def status_of(error: RequestError) -> int:
    """Returns the HTTP status an error is answered with."""
    return error.actual_status if isinstance(error, OtherClientError) else error.status


def build_body(error: RequestError, wall_s: float) -> dict[str, Any]:
    """Returns the one error shape; `retry_after` is exact seconds or null."""
    return {
        "code": error.code,
        "error": error.error,
        "message": error.message,
        "recoverable": error.recoverable,
        "retry_after": error.retry_after_s,
        "details": error.details,
        "timestamp": format_time(wall_s),
    }


def build_headers(error: RequestError) -> list[tuple[bytes, bytes]]:
    """Returns the error's own headers, with `Retry-After` in whole seconds, rounded up, where one is known."""
    headers = list(error.headers)
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    return headers


def format_time(wall_s: float) -> str:
    """Returns ISO 8601 in UTC with microseconds."""
    second, rest = divmod(int(wall_s * 1_000_000), 1_000_000)
    return f"{_format_second(second)}.{rest:06d}Z"


@functools.lru_cache(maxsize=4)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
