"""Removes what must not be recorded: secrets, serial numbers and other marks of one single machine. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .host import Json

MASK = "***"
# "keymap" and "random.trust_cpu" are no secrets; "luks.key", "api_key", "KEYS" are.
_SECRET_NAME = re.compile(
    r"(?<!by)pass(?:w|phrase|$|[._-])|pwd|secret|token|credential|cookie|serial|uuid|private"
    r"|(?:^|[._-]|api)keys?(?:$|[._-])|(?:^|[._-])auth(?:$|[._-])",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^/\s@]*@")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_LONG_RANDOM = re.compile(r"(?<![\w/+.-])(?=\w*\d)(?=\w*[A-Za-z])[\w+]{32,}={0,2}(?![\w/+.-])")


def is_secret_name(name: str) -> bool:
    """True when a setting of this name may hold a secret or a serial number."""
    return _SECRET_NAME.search(name) is not None


def scrub_text(text: str) -> str:
    """The text with user parts of URLs, UUIDs and long random strings masked."""
    text = _USERINFO.sub(f"://{MASK}@", text)
    text = _UUID.sub(MASK, text)
    return _LONG_RANDOM.sub(MASK, text)


def scrub_command_line(line: str) -> str:
    """A kernel command line with secret values masked, both `name=value` and `--name value`."""
    words: list[str] = []
    mask_next = False
    for word in line.split():
        name, divider, value = word.partition("=")
        if mask_next and not word.startswith("-"):
            words.append(MASK)
        elif divider:
            words.append(f"{name}={MASK if is_secret_name(name) else scrub_text(value)}")
        else:
            words.append(scrub_text(word))
        mask_next = not divider and word.startswith("-") and is_secret_name(word.lstrip("-"))
    return " ".join(words)


def scrub_settings(settings: Mapping[str, Json]) -> dict[str, Json]:
    """Settings with every value masked whose name says secret; nested mappings and texts included."""
    return {name: MASK if is_secret_name(name) and value else _scrub(value) for name, value in settings.items()}


def _scrub(value: Json) -> Json:
    if isinstance(value, Mapping):
        return scrub_settings(value)
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    return scrub_text(value) if isinstance(value, str) else value
