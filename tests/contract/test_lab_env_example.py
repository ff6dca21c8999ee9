"""`.env.example` names every variable there is, no other, and each line is a value the mock takes."""

import re
from pathlib import Path

from pydantic import AliasChoices

from mock_server.environment import load_settings
from mock_server.lab.environment import build_environment
from mock_server.lab.settings import INSTANCE_PORT_VARIABLES, PORT_VARIABLES, Ports, parse_settings
from mock_server.settings import VARIABLES, Settings

ROOT = Path(__file__).resolve().parents[2]
ASSIGNMENT = re.compile(r"^#([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
LAB_ONLY = {"STACK", "LAB", "LAB_DIR", "BOOTSTRAP", "INSTANCES", "PRESET"} | {
    variable for variable, _ in (*PORT_VARIABLES.values(), *INSTANCE_PORT_VARIABLES.values())
}
TOKEN = Path(".lab/secrets/control-token")
PORTS = Ports(8000, 9090, 6379, 9091)


def read_example() -> list[tuple[str, str]]:
    return ASSIGNMENT.findall((ROOT / ".env.example").read_text())


def primary_names() -> set[str]:
    aliases = [info.validation_alias for info in Settings.model_fields.values()]
    return {str(alias.choices[0]) for alias in aliases if isinstance(alias, AliasChoices)}


def test_every_variable_stands_once_and_no_unknown_one() -> None:
    names = [name for name, _ in read_example()]

    assert sorted(names) == sorted(primary_names() | LAB_ONLY)


def test_every_alias_is_mentioned() -> None:
    words = set(re.findall(r"[A-Z][A-Z0-9_]+", (ROOT / ".env.example").read_text()))

    assert set(VARIABLES) - words == set()


def test_every_line_uncommented_is_accepted() -> None:
    values = dict(read_example())

    settings = load_settings(values)

    assert settings.port == 8000
    assert parse_settings(values, ROOT).ports == PORTS


def test_the_example_shows_what_the_lab_sets() -> None:
    shown = dict(read_example())
    set_by_lab = build_environment({}, PORTS, "marker", TOKEN)

    assert {name: shown.get(name) for name in set_by_lab if name in VARIABLES} == {
        name: value for name, value in set_by_lab.items() if name in VARIABLES
    }


def test_the_mock_accepts_what_the_lab_sets() -> None:
    settings = load_settings(build_environment({}, PORTS, "marker", TOKEN))

    assert not settings.api_key_digests
    assert settings.redis_fallback_enabled
    assert settings.control_enabled
    assert settings.provider_profile == "instant"
    assert {name: str(limits[0]) for name, limits in settings.tier_limits.items()} == {
        "basic": "60/minute",
        "premium": "5000/minute",
        "lab": "100000000/minute",
    }
