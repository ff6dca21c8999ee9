"""Profiles from YAML files, and the changes a caller may ask of one; what is wrong is named all at once."""

from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from loadtests.errors import ProfileError, UsageError
from loadtests.model import Plan, Profile, Stage
from loadtests.profile_check import check_profile, ramp_problem
from loadtests.quantities import parse_duration, parse_rate
from loadtests.yaml_lines import read_document

PROFILES = Path("loadtests") / "profiles"
USERS = Path("loadtests") / "users"


def known_users(root: Path) -> tuple[str, ...]:
    """The user classes a mix may name: the stems of `loadtests/users/*.py` (found without importing Locust)."""
    return tuple(sorted(path.stem for path in (root / USERS).glob("*.py") if path.stem != "__init__"))


def list_profiles(root: Path) -> list[str]:
    """Names (`stack/name`) of every profile in the checkout at `root`, sorted."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in (root / PROFILES).glob("*/*.yaml"))


def load_profile(name_or_path: str, root: Path) -> Profile:
    """The profile `stack/name` of the checkout at `root`, or that of any YAML file.

    Raises ProfileError with one line for each problem, and UsageError when there is no such profile.
    """
    path = _find(name_or_path, root)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    shown = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    inside = path.is_relative_to(root / PROFILES)
    folder = path.parent.name if inside else None
    profile, problems = check_profile(read_document(text, shown), path.stem, folder, known_users(root))
    if problems or profile is None:
        raise ProfileError("\n".join(problems))
    return profile


def load_plan(path: Path) -> Plan:
    """The plan written by the parent process; raises UsageError when the file is none."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path}: not a plan: {error}") from error


def apply_overrides(
    profile: Profile,
    *,
    users: str | float | None = None,
    spawn_rate: str | float | None = None,
    rate: str | float | None = None,
    duration: str | float | None = None,
) -> Profile:
    """The profile with what a caller asked for instead, as text or numbers.

    `users` and `rate` become the highest level, the other stages keep their proportion to it; `spawn_rate` replaces
    the ramp of every stage that changes users; `duration` becomes the length of the longest stage, its
    ramp in proportion. Raises UsageError
    for a value that is none, one of the other load model, and a ramp that no longer fits its stage.
    """
    if profile.is_open and (users is not None or spawn_rate is not None):
        raise UsageError(f"USERS, SPAWN_RATE: {profile.name} is an open profile, its load is a rate; use RATE=")
    if not profile.is_open and rate is not None:
        raise UsageError(f"RATE: {profile.name} is a closed profile, its load is users; use USERS=")
    changes: list[dict[str, float | None]] = [{} for _ in profile.stages]
    if users is not None:
        _scale_levels(changes, profile, _positive("USERS", users, whole=True))
    if rate is not None:
        _scale_levels(changes, profile, _positive("RATE", rate))
    if spawn_rate is not None:
        slope = _positive("SPAWN_RATE", spawn_rate)
        for change in changes:
            change.update(spawn_rate=slope, ramp_s=None)
    if duration is not None:
        longest = max(range(len(changes)), key=lambda index: profile.stages[index].duration_s)
        length_s, ramp_s = _positive("DURATION", duration), profile.stages[longest].ramp_s
        changes[longest]["duration_s"] = length_s
        if ramp_s is not None and "ramp_s" not in changes[longest]:
            changes[longest]["ramp_s"] = ramp_s * length_s / profile.stages[longest].duration_s
    stages = [stage.model_dump() | change for stage, change in zip(profile.stages, changes, strict=True)]
    try:
        changed = profile.model_copy(update={"stages": tuple(Stage.model_validate(stage) for stage in stages)})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"{profile.name} cannot be changed so: {reason}") from error
    if problem := ramp_problem(changed):
        raise UsageError(f"{profile.name} cannot be changed so: {problem[1]}")
    return changed


def _positive(name: str, value: str | float, *, whole: bool = False) -> float:
    parse = parse_duration if name == "DURATION" else parse_rate
    try:
        number = float(value) if isinstance(value, str) and _is_number(value) else parse(value)
    except ValueError as error:
        wanted = f"got {value!r}, want a whole number above 0" if whole else str(error)
        raise UsageError(f"{name}: {wanted}") from error
    if not 0 < number < float("inf") or (whole and number != int(number)):
        raise UsageError(f"{name}: got {value!r}, want a {'whole ' if whole else ''}number above 0")
    return number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _scale_levels(changes: list[dict[str, float | None]], profile: Profile, highest: float) -> None:
    levels = [stage.rate if stage.rate is not None else float(stage.users or 0) for stage in profile.stages]
    factor = highest / (max(levels) or 1.0)
    for change, level in zip(changes, levels, strict=True):
        if profile.is_open:
            change["rate"] = level * factor
        else:
            change["users"] = max(1, round(level * factor)) if level else 0


def scale_profile(profile: Profile, factor: float) -> Profile:
    """The profile with every stage and ramp shortened by `factor` (above 0, at most 1; 1 changes nothing).

    Raises UsageError when the profile runs on real clocks, or when a stage is or would be too short for Locust,
    which adjusts users once a second.
    """
    if not 0 < factor <= 1:
        raise UsageError(f"TIME_SCALE: got {factor:g}, want a factor above 0 and at most 1")
    if factor != 1 and profile.real_time:
        raise UsageError(
            f"TIME_SCALE: {profile.stack}/{profile.name} refuses it, its faults and waits run on real clocks; "
            "run it without TIME_SCALE"
        )
    shortest = min(stage.duration_s for stage in profile.stages)
    if not profile.is_open and shortest * factor < 1:
        name, setting = f"{profile.stack}/{profile.name}", f"TIME_SCALE: got {factor:g}, which makes "
        wanted = f"at least {1 / shortest:.3g}" if shortest >= 1 else "stages of at least 1 s"
        raise UsageError(
            f"{setting if factor != 1 else ''}the shortest stage of {name} {shortest * factor:g} s; "
            f"users are adjusted once a second, so want {wanted}"
        )
    if factor == 1:
        return profile
    stages = []
    for stage in profile.stages:
        changed: dict[str, float] = {"duration_s": stage.duration_s * factor}
        if stage.ramp_s is not None:
            changed["ramp_s"] = stage.ramp_s * factor
        if stage.spawn_rate is not None:
            changed["spawn_rate"] = stage.spawn_rate / factor
        stages.append(stage.model_copy(update=changed))
    return profile.model_copy(update={"stages": tuple(stages)})


def _find(name_or_path: str, root: Path) -> Path:
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise UsageError(f"{name_or_path}: no such profile file")
        return path.resolve()
    path = root / PROFILES / f"{name_or_path}.yaml"
    names = list_profiles(root)
    if name_or_path not in names:
        stems = {name.split("/")[1]: name for name in names}
        close = get_close_matches(name_or_path, names, n=1) or [
            stems[stem] for stem in get_close_matches(name_or_path.split("/")[-1], stems, n=1)
        ]
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"profile {name_or_path!r}: no such profile{hint} Known: {', '.join(names)}")
    return path
