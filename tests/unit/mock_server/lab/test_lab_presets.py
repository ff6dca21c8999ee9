"""Presets: found by name, combined, refused with the known ones, and under what a person sets."""

from pathlib import Path

import pytest

from mock_server.lab.errors import SettingsError
from mock_server.lab.presets import Preset, apply_presets, choose_presets, load_presets

KNOWN = {
    "pool-20": Preset("pool-20", "Small", {"POOL": "20"}),
    "pool-100": Preset("pool-100", "Large", {"POOL": "100"}),
    "gc-frequent": Preset("gc-frequent", "Often", {"INTERVAL": "1800", "BATCH": "200"}),
}


def test_a_file_is_a_preset_and_its_first_line_says_what_for(tmp_path: Path) -> None:
    (tmp_path / "pool-100.env").write_text("# Large pool\n# Source.\nPOOL=100\n")
    (tmp_path / "pool-20.env").write_text("# Small pool\nPOOL=20\nEMPTY=\n")
    (tmp_path / "notes.txt").write_text("POOL=7\n")

    found = load_presets(tmp_path)

    assert list(found) == ["pool-20", "pool-100"], "numbers in their order"
    assert found["pool-20"] == Preset("pool-20", "Small pool", {"POOL": "20"})


def test_several_are_taken_together() -> None:
    chosen = choose_presets(["pool-20", "gc-frequent"], KNOWN)

    assert apply_presets({"OTHER": "x"}, chosen) == {"OTHER": "x", "POOL": "20", "INTERVAL": "1800", "BATCH": "200"}


def test_what_a_person_sets_wins_but_an_empty_value_does_not() -> None:
    chosen = choose_presets(["gc-frequent"], KNOWN)

    assert apply_presets({"INTERVAL": "60", "BATCH": " "}, chosen) == {"INTERVAL": "60", "BATCH": "200"}


def test_an_unknown_one_is_answered_with_the_one_that_was_meant_and_all_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        choose_presets(["gc-frequnt"], KNOWN)

    assert str(caught.value) == (
        "PRESET: got 'gc-frequnt'; did you mean gc-frequent? There are: pool-20, pool-100, gc-frequent."
    )
    with pytest.raises(SettingsError, match=r"got 'zzz'; no such preset\. There are: pool-20"):
        choose_presets(["zzz"], KNOWN)


def test_two_that_contradict_are_refused() -> None:
    with pytest.raises(SettingsError, match="pool-20 and pool-100 set POOL to different values"):
        choose_presets(["pool-20", "gc-frequent", "pool-100"], KNOWN)
