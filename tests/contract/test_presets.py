"""Every preset is one the mock starts with, and they are the tables of the tuning guide."""

from pathlib import Path

import pytest
from pydantic import AliasChoices

from mock_server.environment import load_settings
from mock_server.lab.environment import build_environment
from mock_server.lab.presets import Preset, apply_presets, load_presets
from mock_server.lab.settings import Ports
from mock_server.settings import VARIABLES, Settings

FOLDER = Path(__file__).resolve().parents[2] / "mock_server" / "presets"
PRESETS = load_presets(FOLDER)
EACH = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
# The guide's tables, by what the presets are called: variable -> value of each row.
GUIDE: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "breaker": (
        ("CONSOUL_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "CONSOUL_CIRCUIT_BREAKER_TIMEOUT"),
        {"sensitive": ("3", "30"), "balanced": ("5", "60"), "resilient": ("10", "120")},
    ),
    "gc": (
        ("CONSOUL_SESSION_GC_INTERVAL", "CONSOUL_SESSION_GC_BATCH_SIZE"),
        {"default": ("3600", "100"), "frequent": ("1800", "200"), "aggressive": ("900", "500")},
    ),
    "pool": (("CONSOUL_REDIS_MAX_CONNECTIONS",), {size: (size,) for size in ("20", "50", "100", "200")}),
    "workers": (("CONSOUL_WORKERS",), {count: (count,) for count in ("2", "4", "8", "16", "32")}),
    "threads": (("CONSOUL_THREAD_POOL_SIZE",), {size: (size,) for size in ("20", "50", "100", "200")}),
}


def test_they_are_the_tables_of_the_guide() -> None:
    expected = {
        f"{table}-{row}": dict(zip(variables, values, strict=True))
        for table, (variables, rows) in GUIDE.items()
        for row, values in rows.items()
    }

    assert {name: dict(preset.variables) for name, preset in PRESETS.items()} == expected


@EACH
def test_the_mock_starts_with_it_and_takes_each_value(preset: Preset) -> None:
    token = Path(".lab/secrets/control-token")
    environment = build_environment(apply_presets({}, [preset]), Ports(8000, 9090, 6379, 9091), "marker", token)

    settings = load_settings(environment)

    for name, value in preset.variables.items():
        assert float(getattr(settings, VARIABLES[name])) == float(value)


@EACH
def test_it_says_what_it_is_for_and_sets_each_variable_by_its_only_name(preset: Preset) -> None:
    text = (FOLDER / f"{preset.name}.env").read_text()
    aliases = [info.validation_alias for info in Settings.model_fields.values()]
    only_names = {str(a.choices[0]) for a in aliases if isinstance(a, AliasChoices) and len(a.choices) == 1}

    assert text.startswith(f"# {preset.title}\n")
    assert 10 < len(preset.title) < 100
    # Under another name a person's own value would stand beside it and contradict it.
    assert set(preset.variables) <= only_names


def test_every_file_of_the_folder_is_a_preset() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.env" for name in PRESETS}
