"""The secret that opens the control plane: read from a file once, held as a digest, never shown."""

import hashlib
import hmac
import logging
from dataclasses import dataclass, field
from pathlib import Path

from mock_server.errors import SettingsError

LEAST_CHARACTERS = 16
MOST_CHARACTERS = 4096
_OTHERS = 0o077
_VARIABLE = "MOCK_CONTROL_TOKEN_FILE"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ControlToken:
    """Knows the token by its digest alone."""

    digest: bytes = field(repr=False)

    def is_token(self, given: str) -> bool:
        """Returns whether `given` is the token; takes the same time however much of it is right."""
        return hmac.compare_digest(_digest(given), self.digest)


def load_token(path: Path) -> ControlToken:
    """Returns the token the file holds; raises SettingsError, which names the file and never what is in it.

    Warns in the log when others may read the file, and does not refuse: a container's secrets are mounted so.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            # One more than allowed, and space around it, so that too long a token shows as such.
            raw = file.read(2 * MOST_CHARACTERS)
    except OSError as error:
        raise SettingsError(
            [f"{_VARIABLE}: {path} cannot be read ({error.strerror}); make it, for this user alone: "
             f"umask 077 && openssl rand -hex 32 > {path}"]
        ) from None  # fmt: skip
    token = parse_token(raw)
    if token is None:
        raise SettingsError(
            [f"{_VARIABLE}: {path} must hold one token of {LEAST_CHARACTERS} to {MOST_CHARACTERS} printable ASCII "
             f"characters without a space; write one: umask 077 && openssl rand -hex 32 > {path}"]
        )  # fmt: skip
    if mode & _OTHERS:
        _log.warning(
            "Others than its owner may read or change the token's file %s; outside a container: chmod 600.", path
        )
    return token


def parse_token(raw: bytes) -> ControlToken | None:
    """Returns the token in the bytes of a file, space around it left out; None when it is not one."""
    try:
        text = raw.decode("ascii").strip()
    except UnicodeDecodeError:
        return None
    if not LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS or not text.isprintable() or " " in text:
        return None
    return ControlToken(_digest(text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(b"control:" + text.encode("utf-8", "surrogatepass")).digest()
