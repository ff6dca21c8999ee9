"""Profiles from text: what is right becomes a frozen model, what is wrong is named with line, key, got and wanted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.errors import ProfileError, UsageError
from loadtests.loader import apply_overrides, known_users, list_profiles, load_plan, load_profile, scale_profile
from loadtests.model import Plan, Profile

GOOD = """\
name: trial
description: Does the loader read what a profile says?
stack: consoul
stages:
  - {name: up, duration: 1m, users: 10, ramp: 1m}
  - name: hold
    duration: 2m30s
    users: 10
mix: {chat: 1}
think_time: {min: 1s, max: 3s}
thresholds:
  - p95 < 2s
  - {check: error_ratio < 1%, stage: hold}
"""

Write = Callable[[str], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two user classes and no profile."""
    (tmp_path / "loadtests/users").mkdir(parents=True)
    for name in ("chat", "websocket", "__init__"):
        (tmp_path / f"loadtests/users/{name}.py").touch()
    (tmp_path / "loadtests/profiles/consoul").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def write(root: Path) -> Write:
    def write(text: str) -> Path:
        path = root / "loadtests/profiles/consoul/trial.yaml"
        path.write_text(text)
        return path

    return write


def problems(root: Path) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        load_profile("consoul/trial", root)
    return [line.removeprefix("loadtests/profiles/consoul/trial.yaml:") for line in str(caught.value).splitlines()]


def test_a_good_profile_is_read_by_name_and_by_path(root: Path, write: Write) -> None:
    path = write(GOOD)
    profile = load_profile("consoul/trial", root)
    assert profile == load_profile(str(path), root)
    assert [stage.duration_s for stage in profile.stages] == [60, 150]
    assert (profile.think_time.min_s, profile.think_time.max_s) == (1, 3)
    assert profile.thresholds[1].stage == "hold"
    assert list_profiles(root) == ["consoul/trial"]
    assert known_users(root) == ("chat", "websocket")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("duration: 2m30s", "duratoin: 2m30s", "7: stages[1].duratoin: got an unknown key, want one of"),
        ("duration: 2m30s", "duratoin: 2m30s", "did you mean duration?"),
        ("mix:", "mxi:", "9: mxi: got an unknown key"),
        (
            "users: 10, ramp: 1m",
            "users: 10, ramp: 90s",
            "5: stages[0]: ramp of 90 s is longer than the stage's duration",
        ),
        (
            "mix: {chat: 1}",
            "mix: {caht: 1}",
            "9: mix.caht: got an unknown user class, want one of chat, websocket; did",
        ),
        ("users: 10, ramp: 1m", "rate: -5, ramp: 1m", "5: stages[0].rate: got -5, want a rate of 0/s or more"),
        ("users: 10, ramp: 1m", "rate: -5/s", "5: stages[0].rate: got '-5/s', want a rate such as 500/s"),
        (
            "users: 10, ramp: 1m",
            "users: -1",
            "5: stages[0].users: got -1, want: input should be greater than or equal",
        ),
        ("users: 10, ramp: 1m", "users: 10, spawn_rate: 0.1", "5: stages[0].spawn_rate: got 0.1/s, a ramp of 100 s"),
        ("duration: 1m,", "duration: 1 minute,", "5: stages[0].duration: got '1 minute', want a duration such as"),
        ("name: hold", "name: up", "1: stage names must differ; more than once: up"),
        ("p95 < 2s", "p95 < 2", "12: thresholds[0]: threshold 'p95 < 2': got limit '2', want a duration"),
        (
            "error_ratio < 1%",
            "eror_ratio < 1%",
            "13: thresholds[1].check: threshold 'eror_ratio < 1%': unknown metric",
        ),
        ("stage: hold", "stage: held", "1: threshold on stage 'held', but the stages are up, hold"),
        ("name: trial", "name: other", "1: name: got 'other', want 'trial', the stem of the file"),
        ("stack: consoul", "stack: kcp", "3: stack: got 'kcp', want 'consoul', the file's folder"),
        ("stack: consoul", "stack: consol", "3: stack: got 'consol', want: input should be 'consoul'"),
        ("mix: {chat: 1}", "mix: {chat: 0}", "9: mix.chat: got a weight of 0, want a number above 0"),
        ("mix: {chat: 1}", "mix: {chat: 1}\nsessions: 0", "10: sessions: got 0, want per-user, fresh, or a number"),
        ("mix: {chat: 1}", "mix: {chat: 1}\nmix: {chat: 2}", "10: mix: got a key given twice (first on line 9)"),
        ("stack: consoul", "stack: [consoul", "got text that is not YAML"),
        ("users: 10, ramp: 1m", "users: yes", "5: stages[0].users: got True, want a number (YAML reads yes"),
        ("mix: {chat: 1}", "mix: {chat: on}", "9: mix.chat: got True, want a number"),
        ("mix: {chat: 1}", "mix: {chat: 1}\nsessions: yes", "10: sessions: got True, want per-user"),
        ("mix: {chat: 1}", "mix: {chat: 1}\nsessions: 2000000", "10: sessions: got 2000000, want per-user"),
        ("mix: {chat: 1}", "mix: {chat: 1}\nexpected: [4290]", "10: expected[0]: got 4290, want: input should be"),
        ("mix: {chat: 1}", "mix: {chat: 1}\ntimeout: 10m", "10: timeout: got 600.0, want: input should be less"),
        (
            "{check: error_ratio < 1%, stage: hold}",
            "{check: dropped == 0, request: POST /chat}",
            "13: thresholds[1].check: dropped is counted per stage, not per request",
        ),
        ("users: 10, ramp: 1m", "users: 010, ramp: 1m", "010 is a number of another base"),
        ("duration: 2m30s", "duration: 2:30", "2:30 is a number of another base"),
        ("duration: 2m30s", "<<: {duration: 2m30s}", "merge keys (<<) are not read"),
        ("name: trial", "name: 2001-13-45", "got text that is not YAML"),
        ("users: 10, ramp: 1m", "users: " + "9" * 5000, "got text that is not YAML"),
        ("duration: 2m30s", "duration: 2m30s\n    warmup: true", "stage 'hold', which is warm-up: recorded, never"),
    ],
)
def test_what_is_wrong_is_named(root: Path, write: Write, old: str, new: str, wanted: str) -> None:
    assert old in GOOD
    write(GOOD.replace(old, new))
    found = problems(root)
    assert any(line.startswith(wanted) or wanted in line for line in found), found


def test_all_problems_of_a_file_come_at_once_in_the_order_of_lines(root: Path, write: Write) -> None:
    write(
        "name: tiral\ndescripton: no\nstack: consoul\nstages:\n"
        "  - {name: a, duration: soon, users: 5, colour: red}\n"
        "  - {name: b, duration: 10s, users: 5, ramp: 20s}\n"
        "mix: {nobody: 1}\ntimeout: -3\nthresholds: [p95 = 2s]\n"
    )
    found = problems(root)
    wanted = ["description", "name", "descripton", "stages[0].colour", "stages[0].duration", "stages[1]"]
    assert [line.split(": ")[1] for line in found] == [*wanted, "mix.nobody", "timeout", "thresholds[0]"]
    numbers = [int(line.split(":")[0]) for line in found]
    assert numbers == sorted(numbers) == [1, 1, 2, 5, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n", "a: &x 1\nb: !!python/object:os.system {}\n"])
def test_files_that_hold_no_profile_are_refused(root: Path, write: Write, text: str) -> None:
    write(text)
    assert problems(root)


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: " + "[" * 3000 + "]" * 3000], ids=["cycle", "deep"])
def test_values_without_end_are_a_problem_and_not_a_crash(root: Path, write: Write, text: str) -> None:
    write(GOOD + text)
    assert "nested without end" in problems(root)[0]


def test_aliases_of_aliases_do_not_fill_the_memory(root: Path, write: Write) -> None:
    lines = ["a0: &a0 [lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    write(GOOD + "\n".join(lines))
    assert "over 10,000 values" in problems(root)[0]


def test_an_unknown_name_gets_a_suggestion_and_the_list(root: Path, write: Write) -> None:
    write(GOOD)
    for name in ("consoul/trail", "trial"):
        with pytest.raises(UsageError, match=r"no such profile; did you mean consoul/trial\? Known: consoul/trial"):
            load_profile(name, root)
    with pytest.raises(UsageError, match="no such profile file"):
        load_profile("nowhere.yaml", root)


def test_a_file_outside_the_checkout_has_no_folder_rule(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "trial.yaml"
    path.write_text(GOOD)
    assert load_profile(str(path), root).name == "trial"


@pytest.fixture
def profile(root: Path, write: Write) -> Profile:
    write(GOOD)
    return load_profile("consoul/trial", root)


@pytest.fixture
def open_profile(root: Path, write: Write) -> Profile:
    write(GOOD.replace("users: 10, ramp: 1m", "rate: 100/s, ramp: 1m").replace("users: 10", "rate: 400/s"))
    return load_profile("consoul/trial", root)


def test_time_scale_shortens_stages_and_ramps_and_keeps_the_loads(profile: Profile) -> None:
    scaled = scale_profile(profile, 0.1)
    assert [(stage.duration_s, stage.ramp_s, stage.users) for stage in scaled.stages] == [(6, 6, 10), (15, None, 10)]
    assert scale_profile(profile, 1) is profile
    steep = scale_profile(apply_overrides(profile, spawn_rate=1), 0.5)
    assert [stage.spawn_rate for stage in steep.stages] == [2, 2]


def test_time_scale_is_refused_where_it_would_lie(profile: Profile) -> None:
    with pytest.raises(UsageError, match="real clocks"):
        scale_profile(profile.model_copy(update={"real_time": True}), 0.5)
    with pytest.raises(UsageError, match=r"shortest stage of consoul/trial 0\.6 s.*at least 0\.0167"):
        scale_profile(profile, 0.01)
    short = profile.stages[0].model_copy(update={"duration_s": 0.5, "ramp_s": None})
    with pytest.raises(UsageError, match=r"^the shortest stage of consoul/trial 0\.5 s.*want stages of at least 1 s"):
        scale_profile(profile.model_copy(update={"stages": (short,)}), 1)
    for factor in (0, -1, 2, float("nan")):
        with pytest.raises(UsageError, match="above 0 and at most 1"):
            scale_profile(profile, factor)


def test_overrides_keep_the_shape(profile: Profile, open_profile: Profile) -> None:
    changed = apply_overrides(profile, users="40", duration="5m")
    assert [(stage.users, stage.duration_s) for stage in changed.stages] == [(40, 60), (40, 300)]
    assert [stage.rate for stage in apply_overrides(open_profile, rate="800/s").stages] == [200, 800]
    assert [stage.rate for stage in apply_overrides(open_profile, rate="800").stages] == [200, 800]
    ramped = apply_overrides(profile, spawn_rate=2)
    assert [(stage.spawn_rate, stage.ramp_s) for stage in ramped.stages] == [(2, None), (2, None)]
    assert apply_overrides(profile) == profile


def test_a_shorter_longest_stage_shortens_its_ramp_in_proportion(profile: Profile) -> None:
    first = profile.stages[0].model_copy(update={"duration_s": 300.0, "ramp_s": 300.0})
    changed = apply_overrides(profile.model_copy(update={"stages": (first, profile.stages[1])}), duration="30s")
    assert (changed.stages[0].duration_s, changed.stages[0].ramp_s) == (30, 30)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"users": "many"}, "USERS: got 'many', want a whole number above 0"),
        ({"users": "2.5"}, "USERS: got '2.5', want a whole number above 0"),
        ({"users": "-3"}, "USERS: got '-3'"),
        ({"duration": "0s"}, "DURATION: got '0s', want a number above 0"),
        ({"rate": 5}, "RATE: trial is a closed profile"),
        ({"spawn_rate": "0.1"}, "trial cannot be changed so: got 0.1/s, a ramp of 100 s"),
        ({"spawn_rate": "inf"}, "SPAWN_RATE: got 'inf'"),
    ],
)
def test_overrides_that_make_no_sense_are_refused(profile: Profile, asked: dict[str, str], wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        apply_overrides(profile, **asked)
    assert str(caught.value).startswith(wanted)


def test_users_of_an_open_profile_are_refused(open_profile: Profile) -> None:
    with pytest.raises(UsageError, match="open profile"):
        apply_overrides(open_profile, users=3)


def test_a_plan_survives_its_file(profile: Profile, tmp_path: Path) -> None:
    plan = Plan(run_id="r", short_id="s", profile=profile, time_scale=0.5, targets={"consoul": "http://127.0.0.1:1"})
    path = tmp_path / "plan.json"
    path.write_text(plan.model_dump_json())
    assert load_plan(path) == plan
    path.write_text("{}")
    with pytest.raises(UsageError, match="not a plan"):
        load_plan(path)
