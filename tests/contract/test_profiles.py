"""Every committed profile is valid, runnable, and says what the documents' figures are."""

from pathlib import Path

import pytest

from loadtests.loader import known_users, list_profiles, load_profile
from loadtests.model import Profile

ROOT = Path(__file__).resolve().parents[2]
NAMES = list_profiles(ROOT)

# (stages as duration, level, ramp), thresholds: the figures of the source.
FIGURES: dict[str, tuple[list[tuple[float, float, float | None]], set[tuple[str, str | None]]]] = {
    "consoul/smoke": ([(30, 5, None)], {("error_ratio == 0", None), ("p95 < 500ms", None)}),
    "consoul/baseline": ([(120, 1, None), (120, 5, None)], {("p95 < 500ms", None), ("error_ratio == 0", None)}),
    "consoul/load": (
        [(60, 10, 60), (300, 50, 300), (60, 100, 60), (60, 0, 60)],
        {("p95 < 2s", None), ("p99 < 3s", None), ("error_ratio < 1%", None)},
    ),
    "consoul/spike": (
        [(60, 10, 60), (30, 100, 30), (120, 100, None), (30, 10, 30), (120, 10, None)],
        {("error_ratio < 1%", stage) for stage in ("normal", "fall", "recovery")},
    ),
    "consoul/open-500": (
        [(5, 500, 5), (60, 500, None)],
        {("p95 < 500ms", None), ("error_ratio < 1%", None), ("dropped == 0", None), ("rate >= 495/s", None)},
    ),
}


def test_every_profile_has_its_figures_here() -> None:
    assert set(NAMES) == set(FIGURES)


@pytest.mark.parametrize("name", NAMES)
def test_profile_is_valid_and_keeps_the_figures_of_its_source(name: str) -> None:
    profile = load_profile(name, ROOT)
    stages, thresholds = FIGURES[name]
    assert [(s.duration_s, s.rate if profile.is_open else s.users, s.ramp_s) for s in profile.stages] == stages
    assert {(threshold.check, threshold.stage) for threshold in profile.thresholds} == thresholds
    assert "document 000" in profile.description or "ours" in profile.description.lower()
    assert "?" in profile.description


def test_details_that_are_not_in_the_stages() -> None:
    load, spike, opened = (load_profile(f"consoul/{name}", ROOT) for name in ("load", "spike", "open-500"))
    assert (load.sessions, load.timeout_s, load.think_time.min_s, load.think_time.max_s) == ("fresh", 30, 1, 1)
    assert spike.expected == (429, 503)
    assert [stage.warmup for stage in opened.stages] == [True, False]
    assert isinstance(opened.sessions, int)


def test_every_user_class_is_used_or_usable() -> None:
    used: set[str] = set()
    for name in NAMES:
        profile: Profile = load_profile(name, ROOT)
        used |= set(profile.mix)
    assert used <= set(known_users(ROOT))
