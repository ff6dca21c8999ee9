"""Numbers as a reader sees them, in one place, so that every output agrees to the digit."""

import re
import unicodedata

from loadtests.quantities import format_duration

UNKNOWN = "–"
_TEXT_LIMIT = 200
# Terminal sequences: OSC and the other strings up to their end, CSI, and two-byte escapes.
_ESCAPES = re.compile(
    r"\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]|\x1b.?", re.DOTALL
)


def format_seconds(value_s: float | None) -> str:
    """Three digits with the unit that suits: `850 µs`, `50.3 ms`, `1.25 s`, `75.0 s`."""
    if value_s is None:
        return UNKNOWN
    for scale, unit in ((1e6, "µs"), (1e3, "ms"), (1.0, "s")):
        scaled = value_s * scale
        if abs(scaled) < 999.5 or unit == "s":
            return f"{_three_digits(scaled)} {unit}"
    raise AssertionError("the last unit always fits")


def format_seconds_tick(value_s: float) -> str:
    """A round value on an axis, without the zeros a measurement would have: `10 ms`, `0`."""
    if not value_s:
        return "0"
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if value_s >= scale * 0.9999:
            return f"{value_s / scale:g} {unit}"
    return f"{value_s * 1e6:g} µs"


def format_milliseconds(value_s: float | None) -> str:
    """Milliseconds with three decimals for tables that machines read; empty when unknown."""
    return "" if value_s is None else f"{value_s * 1000:.3f}"


def format_rate(value: float | None) -> str:
    """Events a second: `499.8/s`, `12,345/s`, `0.25/s`."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}/s" if value >= 9999.5 else f"{_trim(value)}/s"


def format_ratio(value: float | None) -> str:
    """A ratio 0..1 as percentage; never `0 %` for something that happened."""
    if value is None:
        return UNKNOWN
    percent = value * 100
    if percent == 0:
        return "0 %"
    if percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.2f} %" if percent < 10 else f"{percent:.1f} %"


def format_count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return UNKNOWN if value is None else f"{round(value):,}"


def format_bytes(value: float | None) -> str:
    """Bytes in the binary unit that suits: `512 B`, `1.50 KiB`, `12.3 MiB`."""
    if value is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1000 or unit == "GiB":
            return f"{value:.0f} B" if unit == "B" else f"{_three_digits(value)} {unit}"
        value /= 1024
    raise AssertionError("the last unit always fits")


def format_clock(seconds: float) -> str:
    """Elapsed time as `m:ss` or `h:mm:ss`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def format_length(seconds: float) -> str:
    """How long something took, as durations are written in profiles: `4m20s`, `26s`, `3.5s`."""
    return format_duration(round(seconds) if seconds >= 60 else round(seconds, 1))


def format_stage(name: str, *, is_warmup: bool) -> str:
    """A stage's name, with a word that it is warm-up unless the name says so itself."""
    return f"{name} (warm-up)" if is_warmup and "warm" not in name else name


def format_processes(count: int) -> str:
    """`1 generating process`, `4 generating processes`."""
    return f"{count} generating process{'' if count == 1 else 'es'}"


def format_quantity(value: float | None, unit: str) -> str:
    """A threshold's value or limit in its unit (`s`, `ratio`, `/s`, `count`, or one of the target's)."""
    if value is None:
        return UNKNOWN
    if unit == "s":
        return format_seconds(value)
    if unit == "/s":
        return format_rate(value)
    if unit == "ratio":
        return format_ratio(value)
    if unit == "count":
        return format_count(value)
    return _trim(value) if unit == "number" else f"{_trim(value)} {unit}"


def clean_text(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Text of foreign origin for a person's eyes: escape sequences and control or bidi characters gone, cut short."""
    # Cut before the expensive part: a hostile target may send megabytes.
    bare = _ESCAPES.sub("", text[: limit * 20])
    shown = "".join(" " if char in "\t\n\r\u2028\u2029\x85" else char for char in bare)
    shown = "".join(char for char in shown if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _three_digits(value: float) -> str:
    for limit, decimals in ((9.995, 2), (99.95, 1)):
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    return f"{value:,.0f}"


def _trim(value: float) -> str:
    text = f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
