"""Named sets of the mock's variables (`mock_server/presets/*.env`): the tables of the tuning guide, by name.

What a person sets, in the shell or in `.env`, wins over a preset; a preset wins over the lab's own settings.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from mock_server.lab.errors import SettingsError


@dataclass(frozen=True)
class Preset:
    """One file: its stem, the first line of its comment, and the variables it sets."""

    name: str
    title: str
    variables: Mapping[str, str]


def load_presets(folder: Path) -> dict[str, Preset]:
    """Every preset of `folder` by name, in the order of names and numbers."""
    found = [_load_preset(path) for path in folder.glob("*.env")]
    return {preset.name: preset for preset in sorted(found, key=lambda preset: _order(preset.name))}


def _load_preset(path: Path) -> Preset:
    first_line = path.read_text("utf-8").partition("\n")[0]
    variables = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    return Preset(path.stem, first_line.removeprefix("#").strip(), variables)


def _order(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", name)]


def choose_presets(names: Iterable[str], known: Mapping[str, Preset]) -> tuple[Preset, ...]:
    """The presets of these `names`. Raises SettingsError for an unknown one and for two that contradict."""
    chosen = []
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "no such preset."
            raise SettingsError(f"PRESET: got {name!r}; {hint} There are: {', '.join(known)}.")
        chosen.append(known[name])
    owners: dict[str, Preset] = {}
    for preset in chosen:
        for variable, value in preset.variables.items():
            other = owners.setdefault(variable, preset)
            if other.variables[variable] != value:
                raise SettingsError(
                    f"PRESET: {other.name} and {preset.name} set {variable} to different values; take one of them."
                )
    return tuple(chosen)


def apply_presets(variables: Mapping[str, str], presets: Iterable[Preset]) -> dict[str, str]:
    """`variables` with what `presets` say of those that are unset or empty."""
    from_presets = {name: value for preset in presets for name, value in preset.variables.items()}
    given = {name: value for name, value in variables.items() if value.strip() or name not in from_presets}
    return {**from_presets, **given}
