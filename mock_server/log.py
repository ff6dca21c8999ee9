"""Log records as JSON, one line each, on standard error; never a request's text or a secret."""

import json
import logging
from datetime import UTC, datetime
from typing import Any


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of ASCII JSON, so that no text in it can forge another record.

    What a record carries as `fields` (a mapping) becomes keys of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        request_id = getattr(record, "request_id", None)
        if request_id is not None:
            entry["request_id"] = request_id
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure_logging(level: str, access_log: bool) -> None:
    """Sends every record of this process at `level` and above to standard error; replaces earlier handlers."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The parent announces itself; uvicorn's own start and stop lines would say it again for each worker.
    logging.getLogger("uvicorn.error").setLevel("WARNING" if level in ("info", "warning") else level.upper())
    access = logging.getLogger("uvicorn.access")
    access.setLevel("INFO" if access_log else "CRITICAL")
    access.propagate = access_log
