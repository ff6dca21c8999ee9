"""What must never be recorded is masked, and what looks like it by chance is kept."""

from typing import Any

import pytest

from playbooks.module_utils.snapshot.scrub import is_secret_name, scrub_command_line, scrub_settings, scrub_text


@pytest.mark.parametrize(
    "name",
    [
        *("password", "REDIS_PASSWORD", "db.passphrase", "API_KEY", "CONSOUL_API_KEYS", "rd.luks.key", "auth-token"),
        *("secret", "root_uuid", "serial", "apikey", "CONSOUL_TIER_KEYS", "x.pwd"),
    ],
)
def test_secret_names_are_recognised(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["vconsole.keymap", "random.trust_cpu", "mitigations", "author", "CONSOUL_PORT", "bypass", "keyboard"]
)
def test_names_that_only_resemble_secrets_are_kept(name: str) -> None:
    assert not is_secret_name(name)


def test_command_line_masks_values_by_name_and_by_form() -> None:
    line = (
        "root=UUID=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 quiet luks.key=hunter2 --token abc --listen 1 "
        "fetch=http://bob:pw@host/x mitigations=auto"
    )

    assert scrub_command_line(line) == (
        "root=UUID=*** quiet luks.key=*** --token *** --listen 1 fetch=http://***@host/x mitigations=auto"
    )


def test_a_flag_after_a_secret_flag_is_no_value() -> None:
    assert scrub_command_line("--auth-required --addr 127.0.0.1 -- x") == "--auth-required --addr 127.0.0.1 -- x"


def test_long_random_text_is_masked_and_paths_are_not() -> None:
    random = "A1b2C3d4E5f6A7b8C9d0A1b2C3d4E5f6A7b8C9d0"
    path = "/boot/vmlinuz-6.1.0-18-cloud-amd64-with-a-very-long-name-of-its-own"

    assert scrub_text(f"{path} {random}") == f"{path} ***"


def test_settings_are_masked_by_name_at_any_depth_and_empty_secrets_stay_empty() -> None:
    settings: dict[str, Any] = {
        "CONSOUL_API_KEYS": ["a", "b"],
        "CONSOUL_API_KEY": "",
        "redis": {"password": "p", "url": "redis://u:p@127.0.0.1:6379/0", "urls": ["redis://:p@h"]},
        "CONSOUL_PORT": 8000,
    }

    assert scrub_settings(settings) == {
        "CONSOUL_API_KEYS": "***",
        "CONSOUL_API_KEY": "",
        "redis": {"password": "***", "url": "redis://***@127.0.0.1:6379/0", "urls": ["redis://***@h"]},
        "CONSOUL_PORT": 8000,
    }
