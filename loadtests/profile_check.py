"""What is wrong with a profile's text: every problem at once, by line, key, got and wanted. Pure; reads no file."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from loadtests.model import Profile, Record, Stage, ThinkTime, Threshold
from loadtests.results.thresholds import LEDGER_METRICS, parse_condition
from loadtests.schedule import Schedule, implied_ramp_s
from loadtests.yaml_lines import Document, KeyPath, Problem

# What stands in for a value already reported, so that the checks that need the rest of the file still run.
_STAND_INS: dict[str, Any] = {
    "name": None,
    "description": "stands in for what was reported",
    "stack": "consoul",
    "duration": 1_000_000,
    "users": 1,
    "rate": 1,
    "mix": {"chat": 1},
    "check": "p95 < 1s",
    "min": 0,
    "max": 1_000_000,
    "stages": [{"name": "stands-in", "duration": 1, "users": 1}],
}
_MODELS: dict[str, type[Record]] = {"stages": Stage, "thresholds": Threshold, "think_time": ThinkTime}


def check_profile(
    document: Document, stem: str, folder: str | None, known_users: tuple[str, ...]
) -> tuple[Profile | None, list[str]]:
    """The profile a document holds, and its problems in the order of their lines; None with at least one of them.

    `stem` and `folder` are what `name` and `stack` must equal (no folder: any stack).
    """
    problems = list(document.problems)
    profile: Profile | None = None
    if isinstance(document.data, dict):
        problems += _check_names(document, stem, folder)
        problems += _check_mix(document, known_users)
        problems += _check_thresholds(document)
        profile, found = _check_model(document)
        problems += found
    elif not problems:
        problems.append(document.problem((), "got no mapping, want the keys of a profile (name, description, …)"))
    return (None if problems else profile), list(dict.fromkeys(text for _, text in sorted(problems)))


def ramp_problem(profile: Profile) -> tuple[int, str] | None:
    """The first stage (index, text) whose `spawn_rate` implies a ramp longer than the stage."""
    for stage, window in zip(profile.stages, Schedule.of(profile).windows, strict=True):
        ramp_s = implied_ramp_s(stage, window.before)
        if stage.spawn_rate is not None and ramp_s > stage.duration_s:
            return window.index, (
                f"got {stage.spawn_rate:g}/s, a ramp of {ramp_s:g} s from {window.before:g} to {window.level:g} "
                f"users in stage {stage.name}; want one within the stage's duration of {stage.duration_s:g} s"
            )
    return None


def _check_names(document: Document, stem: str, folder: str | None) -> list[Problem]:
    problems = []
    name, stack = document.data.get("name"), document.data.get("stack")
    if isinstance(name, str) and name != stem:
        problems.append(document.problem(("name",), f"got {name!r}, want {stem!r}, the stem of the file"))
    if folder is not None and isinstance(stack, str) and stack != folder:
        problems.append(document.problem(("stack",), f"got {stack!r}, want {folder!r}, the file's folder"))
    return problems


def _check_mix(document: Document, known: tuple[str, ...]) -> list[Problem]:
    mix = document.data.get("mix")
    problems = []
    for name, weight in mix.items() if isinstance(mix, dict) else ():
        if name not in known:
            wanted = f"got an unknown user class, want one of {', '.join(known)}"
            problems.append(document.problem(("mix", name), wanted + _hint(str(name), known)))
        if isinstance(weight, int | float) and not isinstance(weight, bool) and not 0 < weight < float("inf"):
            problems.append(document.problem(("mix", name), f"got a weight of {weight!r}, want a number above 0"))
    return problems


def _check_thresholds(document: Document) -> list[Problem]:
    thresholds = document.data.get("thresholds")
    problems = []
    for index, item in enumerate(thresholds if isinstance(thresholds, list) else ()):
        check = item.get("check") if isinstance(item, dict) else item
        if isinstance(check, str):
            try:
                condition = parse_condition(check)
                if isinstance(item, dict) and item.get("request") is not None and condition.metric in LEDGER_METRICS:
                    raise ValueError(f"{condition.metric} is counted per stage, not per request; leave `request` out")
            except ValueError as error:
                where: KeyPath = ("thresholds", index, "check") if isinstance(item, dict) else ("thresholds", index)
                problems.append(document.problem(where, str(error)))
    return problems


def _check_model(document: Document) -> tuple[Profile | None, list[Problem]]:
    """Validates again and again, with a stand-in for each value already reported, until nothing new comes up."""
    data, problems = document.copy_data(), []
    for _ in range(20):
        try:
            profile = Profile.model_validate(data)
        except ValidationError as error:
            # Where every item of a list is wrong, pydantic adds that the list is too short: no problem of its own.
            found = [e for e in error.errors() if not (e["type"] == "too_short" and e["input"])]
            problems += [document.problem(_shown_location(e["loc"], data), _wording(e)) for e in found]
            mended = [_mend(data, e["loc"]) for e in found]
            if not any(mended):
                return None, problems
        else:
            if found_ramp := ramp_problem(profile):
                problems.append(document.problem(("stages", found_ramp[0], "spawn_rate"), found_ramp[1]))
            return profile, problems
    return None, problems


def _wording(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        model = _MODELS.get(str(error["loc"][0])) if len(error["loc"]) > 1 else Profile
        allowed = [field.alias or name for name, field in (model or Profile).model_fields.items()]
        return f"got an unknown key, want one of {', '.join(allowed)}{_hint(str(error['loc'][-1]), allowed)}"
    if error["type"] == "missing":
        return "got nothing, want this key: it is required"
    if error["loc"][:1] == ("sessions",):
        return f"got {error['input']!r}, want per-user, fresh, or a number of sessions to share (1 or more)"
    text = str(error["msg"]).removeprefix("Value error, ")
    if text.startswith("got ") or isinstance(error["input"], dict):
        return text
    return f"got {error['input']!r}, want: {text[0].lower()}{text[1:]}"


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _shown_location(location: KeyPath, data: Any) -> KeyPath:
    """The part of pydantic's location that is in the file: without the names of a union's branches."""
    shown: list[int | str] = []
    for step in location:
        in_list = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if in_list or (isinstance(data, dict) and step in data):
            data = data[step]
        elif isinstance(data, dict) and step == location[-1]:
            data = None
        else:
            continue
        shown.append(step)
    return tuple(shown)


def _mend(data: Any, location: KeyPath) -> bool:
    """Replaces what was reported at a location, so that validation can go on; False when that is not possible."""
    shown = _shown_location(location, data)
    if not shown:
        return False
    *parents, last = shown
    for step in parents:
        data = data[step]
    if isinstance(data, dict) and _STAND_INS.get(str(last)) is not None:
        data[last] = _STAND_INS[str(last)]
    elif isinstance(data, dict) and last == "name":
        data[last] = f"stands-in-{'-'.join(str(step) for step in parents)}".rstrip("-")
    elif isinstance(data, dict) and last in data:
        del data[last]
    elif isinstance(data, list) and isinstance(last, int) and isinstance(data[last], dict):
        load = {"rate": 1} if "rate" in data[last] else {"users": 1}
        data[last] = {"name": data[last].get("name", f"stands-in-{last}"), "duration": 1, **load}
    else:
        return False
    return True
