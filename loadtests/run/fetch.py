"""One bounded HTTP GET, sent straight to the target (never through a proxy): preflight and scrape, not load."""

import http.client
import urllib.error
import urllib.request

TIMEOUT_S = 5.0
MAX_BYTES = 8 * 1024 * 1024

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, timeout_s: float = TIMEOUT_S) -> tuple[int, bytes]:
    """Status and body (first 8 MiB) of a GET; raises OSError without an answer, ValueError for a bad one."""
    try:
        with _opener.open(url, timeout=timeout_s) as response:
            return response.status, response.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        return error.code, error.read(MAX_BYTES)
    except http.client.HTTPException as error:
        raise ValueError(f"not an HTTP answer: {error!r}") from None
