"""Text to number for the units a profile is written in: durations, rates, ratios, sizes of nothing else."""

import re

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h)")
_PER_SECOND = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str | int | float) -> float:
    """Seconds of `2m30s`, `1h`, `500ms`, `30s` or a bare number of seconds; raises ValueError otherwise."""
    if isinstance(text, bool):
        raise ValueError(f"got {text!r}, want a duration such as 30s, 2m30s or 500ms")
    if isinstance(text, int | float):
        seconds = float(text)
    else:
        match = _DURATION.fullmatch(text.strip())
        if not match or not any(match.groups()):
            raise ValueError(f"got {text!r}, want a duration such as 30s, 2m30s or 500ms")
        hours, minutes, secs, millis = (float(part) if part else 0.0 for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + secs + millis / 1000
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"got {text!r}, want a duration of 0 s or more")
    return seconds


def parse_rate(text: str | int | float) -> float:
    """Events a second of `500/s`, `60/m`, `1000/h` or a bare number a second; raises ValueError otherwise."""
    if isinstance(text, bool):
        raise ValueError(f"got {text!r}, want a rate such as 500/s or 60/m")
    if isinstance(text, int | float):
        rate = float(text)
    else:
        match = _RATE.fullmatch(text.strip())
        if not match:
            raise ValueError(f"got {text!r}, want a rate such as 500/s or 60/m")
        rate = float(match[1]) / _PER_SECOND[match[2]]
    if not 0 <= rate < float("inf"):
        raise ValueError(f"got {text!r}, want a rate of 0/s or more")
    return rate


def format_duration(seconds: float) -> str:
    """The shortest of `1h`, `2m30s`, `30s`, `500ms`, `12.5s` that says it."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms" if seconds else "0s"
    if seconds < 60 or seconds != int(seconds):
        if seconds < 60:
            return f"{seconds:g}s"
        seconds = round(seconds)
    hours, rest = divmod(int(seconds), 3600)
    minutes, secs = divmod(rest, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (secs, "s")) if n)
