"""The command line: arguments to calls, errors to one clear message and their exit code. Computes nothing."""

import argparse
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from loadtests.errors import LoadTestError, UsageError
from loadtests.exit_codes import ExitCode
from loadtests.loader import list_profiles, load_profile
from loadtests.quantities import format_duration
from loadtests.results.formats import clean_text
from loadtests.run.environment import render_snapshot, take_snapshot
from loadtests.run.redraw import redraw
from loadtests.run.session import run_profiles
from loadtests.run.settings import read_settings
from loadtests.stacks import STACKS

ROOT = Path(__file__).resolve().parent.parent


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors end with our own code for bad usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs one command and returns the exit code of its cause; prints each error once, without a traceback."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        options = _parse(arguments)
        return int(options.command(options, environ, console))
    except LoadTestError as error:
        # Parts of it may come from a target, a file or a variable: nothing of that may steer the terminal.
        lines = [clean_text(line, 4000) for line in f"error: {error}".split("\n")]
        print("\n".join(lines), file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted; what was recorded before is in its folder", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the top: a defect of ours has a code of its own
        traceback.print_exc()
        print(f"error: the instrument broke ({type(error).__name__}); please report the lines above", file=sys.stderr)
        return int(ExitCode.HARNESS_BROKE)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="python -m loadtests", description="Declare, run and judge load.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="run profiles and judge them")
    run.add_argument("profile", nargs="*", help="STACK/NAME or the path of a profile file")
    run.add_argument("--series", metavar="STACK", help="run the series of this stack, in order")
    run.add_argument("--ui", action="store_true", help="start from Locust's web UI on 127.0.0.1")
    run.add_argument("--users", help="users at the highest stage; the others in proportion (closed)")
    run.add_argument("--spawn-rate", help="users started a second, instead of the ramps (closed)")
    run.add_argument("--rate", help="arrivals a second at the highest stage; the others in proportion (open)")
    run.add_argument("--duration", help="length of the longest stage")
    run.set_defaults(command=_run)

    listing = commands.add_parser("list", help="list the profiles with the question each answers")
    listing.set_defaults(command=_list)

    validate = commands.add_parser("validate", help="check profiles without sending load")
    validate.add_argument("profile", nargs="*", help="STACK/NAME or a path; all profiles without one")
    validate.set_defaults(command=_validate)

    report = commands.add_parser("report", help="draw the report of a stored run again")
    report.add_argument("run", nargs="?", help="its folder; the newest without one")
    report.set_defaults(command=_report)

    snapshot = commands.add_parser("snapshot", help="record this host's environment")
    snapshot.add_argument("--json", action="store_true", help="print the JSON instead of the page")
    snapshot.set_defaults(command=_snapshot)
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, environ: Mapping[str, str], console: Console) -> ExitCode:
    names = list(options.profile)
    if options.series:
        if options.series not in STACKS:
            raise UsageError(f"--series: got {options.series!r}, want one of {', '.join(STACKS)}")
        names += [f"{options.series}/{name}" for name in STACKS[options.series].series]
    if not names:
        raise UsageError("run: name at least one profile, such as consoul/smoke, or --series consoul")
    if options.ui and len(names) > 1:
        raise UsageError("run --ui: takes one profile")
    overrides = {
        name: getattr(options, name)
        for name in ("users", "spawn_rate", "rate", "duration")
        if getattr(options, name) is not None
    }
    settings = read_settings(environ, ROOT, overrides)
    return run_profiles(names, settings, console, ui=options.ui)


def _list(_: argparse.Namespace, __: Mapping[str, str], console: Console) -> ExitCode:
    for name in list_profiles(ROOT):
        profile = load_profile(name, ROOT)
        console.print(f"{name:<24} {format_duration(profile.duration_s):>7}  {profile.description}", markup=False)
    return ExitCode.PASS


def _validate(options: argparse.Namespace, _: Mapping[str, str], console: Console) -> ExitCode:
    problems = []
    names = options.profile or list_profiles(ROOT)
    for name in names:
        try:
            load_profile(name, ROOT)
        except LoadTestError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    console.print(f"{len(names)} profile{'s' * (len(names) != 1)} valid")
    return ExitCode.PASS


def _report(options: argparse.Namespace, environ: Mapping[str, str], console: Console) -> ExitCode:
    settings = read_settings(environ, ROOT, {})
    path = redraw(Path(options.run) if options.run else None, settings.results_root)
    console.print(f"report: {path}", markup=False)
    return ExitCode.PASS


def _snapshot(options: argparse.Namespace, environ: Mapping[str, str], console: Console) -> ExitCode:
    if options.json:
        print(json.dumps(take_snapshot(ROOT), indent=2))
        return ExitCode.PASS
    settings = read_settings(environ, ROOT, {})
    snapshot = take_snapshot(ROOT)
    path = settings.results_root / "environment.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(snapshot, indent=2) + "\n")
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror}); set RESULTS_DIR to another folder"
        ) from error
    print(render_snapshot(ROOT, path))
    console.print(f"written: {path}", markup=False)
    return ExitCode.PASS
