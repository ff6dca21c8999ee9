"""SVG elements as text: every attribute and text escaped here, nowhere else."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

Point = tuple[float, float | None]


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """One element; `class_` gives `class`, `stroke_width` gives `stroke-width`, plain text children are escaped."""
    parts = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opened = f"<{name}{''.join(parts)}"
    if not children:
        return Markup(opened + "/>")
    return Markup(f"{opened}>{''.join(escape(child) for child in children)}</{name}>")


def join(parts: Iterable[Markup]) -> Markup:
    """Elements one after another."""
    return Markup("").join(parts)


def line_path(points: Sequence[Point]) -> str:
    """The `d` of a polyline through pixels; an unknown value leaves a gap, one between gaps becomes a dot."""
    commands: list[str] = []
    is_open = False
    for index, (x, y) in enumerate(points):
        if y is None:
            is_open = False
            continue
        commands.append(f"{'L' if is_open else 'M'}{_number(x)} {_number(y)}")
        is_alone = not is_open and (index + 1 == len(points) or points[index + 1][1] is None)
        if is_alone:
            commands.append("h.1")
        is_open = True
    return "".join(commands)


def area_path(points: Sequence[Point], base: float) -> str:
    """The `d` of the area between a line and `base`; unknown values lie on the base."""
    if not points:
        return ""
    inner = "".join(f"L{_number(x)} {_number(base if y is None else y)}" for x, y in points)
    return f"M{_number(points[0][0])} {_number(base)}{inner}L{_number(points[-1][0])} {_number(base)}Z"


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
