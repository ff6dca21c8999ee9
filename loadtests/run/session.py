"""Runs profiles one after the other: prepare, load, judge, write, print. The order of things, and nothing else."""

import os
import resource
import secrets
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from loadtests.errors import HarnessError
from loadtests.exit_codes import ExitCode
from loadtests.loader import apply_overrides, load_profile, scale_profile
from loadtests.model import Plan, Profile
from loadtests.quantities import format_duration
from loadtests.results.builder import build_repeat_command, build_result, write_all
from loadtests.results.fold import Tally
from loadtests.results.model import GitState, TargetReport
from loadtests.results.store import RunFolder, build_run_id
from loadtests.results.terminal import build_terminal_summary
from loadtests.run.environment import compute_difference, take_snapshot
from loadtests.run.generator import Generator
from loadtests.run.preflight import ask_identity, check, find_problems
from loadtests.run.progress import Progress
from loadtests.run.provenance import read_git, read_versions
from loadtests.run.recording import REQUESTS, Recording, read_sample
from loadtests.run.reset import reset_lab
from loadtests.run.settings import RunSettings
from loadtests.run.target import Target, load_lab_state, resolve_target

END_GRACE_S = 15.0
# Worst first: what a series of runs ends with.
PRECEDENCE = (
    *(ExitCode.HARNESS_BROKE, ExitCode.INTERRUPTED, ExitCode.INVALID, ExitCode.FAIL),
    *(ExitCode.INSUFFICIENT, ExitCode.PASS),
)


@dataclass(frozen=True)
class Prepared:
    """A profile as it will run, against the target it will run on."""

    name: str
    declared: Profile
    length_s: float
    target: Target


def run_profiles(names: Sequence[str], settings: RunSettings, console: Console, *, ui: bool) -> ExitCode:
    """Runs every profile and returns the worst exit code; nothing starts unless all of them can."""
    prepared = [prepare(name, settings) for name in names]
    announce(prepared, settings, console, ui=ui)
    codes = []
    for each in prepared:
        code, is_last = run_one(each, settings, console, ui=ui)
        codes.append(code)
        if is_last:
            break
    return next(code for code in PRECEDENCE if code in codes)


def prepare(name: str, settings: RunSettings) -> Prepared:
    """The profile with its overrides, and a target that is ready; raises every problem at once."""
    declared = apply_overrides(load_profile(name, settings.root), **settings.overrides)
    scaled = scale_profile(declared, settings.time_scale)
    target = resolve_target(declared.stack, settings.environ, load_lab_state(settings.lab_dir))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    check(find_problems(scaled, target, settings.results_root, open_files_limit=limit))
    return Prepared(name, declared, scaled.duration_s, target)


def announce(prepared: Sequence[Prepared], settings: RunSettings, console: Console, *, ui: bool) -> None:
    """Says what will run, where and for how long, and how to have a quick look instead."""
    for each in prepared:
        profile = each.declared
        where = ", ".join(each.target.urls.values())
        console.print(
            f"{profile.stack}/{profile.name}: {format_duration(each.length_s)} on {where}. {profile.description}",
            markup=False,
        )
    total_s = sum(each.length_s for each in prepared)
    if settings.time_scale != 1:
        console.print(f"TIME_SCALE={settings.time_scale:g}: shortened, never comparable with a run of full length")
    if total_s > 60 and not ui:
        console.print(
            f"Takes {format_duration(total_s)} in all. A quick look instead: make test-load-smoke "
            "(30s), or TIME_SCALE=0.1 before the command."
        )


def run_one(prepared: Prepared, settings: RunSettings, console: Console, *, ui: bool) -> tuple[ExitCode, bool]:
    """One run from its folder to its exit code, and whether a person or the system wants no further one."""
    target, profile = prepared.target, prepared.declared
    if profile.reset and target.lab is not None:
        reset_lab(target.lab)
    short_id = secrets.token_hex(3)
    created_unix = time.time()
    plan = Plan(
        run_id=build_run_id(datetime.fromtimestamp(created_unix, UTC), profile.stack, profile.name, short_id),
        short_id=short_id,
        profile=profile,
        time_scale=settings.time_scale,
        targets=target.urls,
    )
    # What takes time comes before the folder: interrupted in it, no folder without a result is left behind.
    before, begin_sample = take_snapshot(settings.root), read_sample(target)
    folder = RunFolder.create(settings.results_root, plan)
    log_path = folder.path / "generator.log"
    ui_port = settings.ui_port if ui else None
    environ = _child_environ(target, settings)
    shown_host = next(iter(target.urls.values()))
    generator = Generator.start(
        settings.root, folder.plan_path, log_path, environ, ui_port=ui_port, shown_host=shown_host
    )
    if ui:
        console.print(f"Locust's web UI: http://127.0.0.1:{ui_port} (press Start there; Ctrl-C here ends it)")
    try:
        recording = Recording(Tally(plan), folder, generator, target, begin_sample)
        with recording.handling_signals():
            code = _record_and_judge(recording, before, created_unix, prepared.name, settings, console)
        code = _let_go(generator, recording, code, console, stays_open=ui)
        return code, recording.is_interrupted or recording.is_asked_to_leave
    finally:
        generator.kill()


def _record_and_judge(
    recording: Recording,
    before: dict[str, Any],
    created_unix: float,
    name: str,
    settings: RunSettings,
    console: Console,
) -> ExitCode:
    """Follows the run to its end, writes its result, prints its summary."""
    tally, folder, target = recording.tally, recording.folder, recording.target
    with Progress(tally, console) as progress:
        recording.follow(progress.show)
    result = build_result(
        tally,
        created_unix=created_unix,
        target=_report_target(target, recording),
        versions=read_versions(),
        git=_git_state(settings),
        is_interrupted=recording.is_interrupted,
        repeat_command=_repeat_command(name, tally.plan, settings),
    )
    write_all(folder, result, _environment_since(before, settings))
    console.print(build_terminal_summary(result, os.path.relpath(folder.path)), soft_wrap=False)
    return result.verdict.exit_code


def _environment_since(before: dict[str, Any], settings: RunSettings) -> dict[str, Any]:
    """The environment before and after; a snapshot that fails now must not cost the run that was measured."""
    try:
        after = take_snapshot(settings.root)
        difference = compute_difference(settings.root, before, after)
    except HarnessError as error:
        return {"before": before, "after": None, "difference": None, "problem": str(error)}
    return {"before": before, "after": after, "difference": difference}


def _let_go(
    generator: Generator, recording: Recording, code: ExitCode, console: Console, *, stays_open: bool
) -> ExitCode:
    """Waits for the generator to end; its web UI stays open until Ctrl-C, so that its charts can be looked at."""
    if stays_open and not recording.is_interrupted and not recording.is_asked_to_leave:
        console.print("The web UI stays open to look at; this run is recorded, Ctrl-C ends it.")
        try:
            generator.wait(None)
        except KeyboardInterrupt:
            generator.stop()
    elif stays_open:
        generator.stop()
    status = generator.wait(END_GRACE_S)
    if not recording.has_started and not recording.is_interrupted:
        raise HarnessError(
            f"the generator ended with {status} before it sent any load; its output is in "
            f"{recording.folder.path / 'generator.log'}:\n{generator.log_tail()}"
        )
    return code


def _child_environ(target: Target, settings: RunSettings) -> dict[str, str]:
    """The caller's environment, with the lab's own key where the lab is the target and no other key was given."""
    environ = dict(settings.environ)
    if target.lab is not None and settings.api_key is None:
        environ["API_KEY"] = target.stack.lab_api_key
    return environ


def _report_target(target: Target, recording: Recording) -> TargetReport:
    facts = {}
    for service, said in ask_identity(target).items():
        for name, value in (said or {}).items():
            facts[f"{service} {name}"] = value
    if target.lab is not None:
        facts["lab preset"] = target.lab.preset or "none"
        facts["lab instances"] = str(len(target.metrics_urls))
    return TargetReport(
        urls=target.urls,
        is_mock=target.lab is not None,
        requests_counted=recording.growth_of(REQUESTS),
        not_counted=recording.why_not_counted,
        facts=facts,
    )


def _git_state(settings: RunSettings) -> GitState | None:
    state = read_git(settings.root)
    if not isinstance(state["sha"], str):
        return None
    return GitState(sha=state["sha"], is_dirty=bool(state["dirty"]))


def _repeat_command(name: str, plan: Plan, settings: RunSettings) -> str:
    """The same run again on the same target, by the profile's own file where one was given; without the API key."""
    # No other variable: a name such as TARGET_TOKEN is not ours, and an address with ? may hold a secret.
    names = (
        "TARGET",
        "TARGETS_ALLOWED",
        "TARGET_METRICS",
        *(f"TARGET_{service.upper()}" for service in plan.targets),
    )
    given = {key: value for key in names if (value := settings.environ.get(key)) and "?" not in value}
    variables = {**{key.upper(): value for key, value in settings.overrides.items()}, **given}
    words = [f"{key}={shlex.quote(value)}" for key, value in variables.items()]
    if not name.endswith((".yaml", ".yml")):
        return " ".join([build_repeat_command(plan), *words])
    scale = [] if plan.time_scale == 1 else [f"TIME_SCALE={plan.time_scale:g}"]
    return " ".join([*scale, *words, ".venv/bin/python -m loadtests run", shlex.quote(name)])
