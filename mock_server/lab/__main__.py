"""`python -m mock_server.lab COMMAND`: reads arguments, environment and `.env`, and says what happened."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from dotenv import dotenv_values

from mock_server.lab import commands
from mock_server.lab.bootstrap import inspect_host
from mock_server.lab.errors import LabError
from mock_server.lab.native import NativeLab
from mock_server.lab.paths import locate_lab
from mock_server.lab.presets import apply_presets, choose_presets, load_presets
from mock_server.lab.settings import parse_settings

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ROOT / "mock_server" / "presets"
# Not TMPDIR: the same lab must be found from every terminal, and a socket's path must stay short.
_RUNTIME_PARENT = Path("/tmp")  # noqa: S108


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line of the lab."""
    parser = argparse.ArgumentParser(prog="python -m mock_server.lab", description="Start, watch and stop the lab.")
    verbs = parser.add_subparsers(dest="command", required=True)
    helps = {
        "up": "start the lab and return when every service is ready",
        "status": "one line for each service; exit code 3 when one is not ready",
        "logs": "the last lines of the logs",
        "down": "end everything of the lab",
        "presets": "list the named sets of the mock's variables",
        "bootstrap": "install what the lab needs (root, Debian family)",
    }
    parsers = {name: verbs.add_parser(name, help=text) for name, text in helps.items()}
    for verb in parsers.values():
        verb.add_argument("--stack", help="the stack; STACK in the environment, else consoul")
    parsers["down"].add_argument("--purge", action="store_true", help="also remove the data of Redis and Prometheus")
    parsers["logs"].add_argument("service", nargs="?", help="one service only")
    parsers["logs"].add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    parsers["logs"].add_argument("-n", "--lines", type=int, default=20, help="how many lines of each (20)")
    parsers["bootstrap"].add_argument("--tests", action="store_true", help="also what the tests drive")
    parsers["bootstrap"].add_argument("--bench", action="store_true", help="also what the benchmarks drive")
    return parser.parse_args(arguments)


def run(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Runs one command and returns its exit code; errors of the lab are printed, not raised."""
    options = parse_arguments(arguments)
    from_file = {name: value for name, value in dotenv_values(ROOT / ".env").items() if value}
    variables = {**from_file, **environment, **({"STACK": options.stack} if options.stack else {})}
    try:
        if options.command == "presets":
            return commands.list_presets(load_presets(PRESETS), _say)
        settings = parse_settings(variables, ROOT)
        if options.command == "up":
            variables = apply_presets(variables, choose_presets(settings.presets, load_presets(PRESETS)))
        paths = locate_lab(settings.lab_dir, _RUNTIME_PARENT, os.geteuid())
        lab = NativeLab(settings, paths, variables)
        return _dispatch(options, commands.Context(lab, inspect_host(os.geteuid()), _say))
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'The lab'}: {error.strerror or error}\n")
        return LabError.exit_code


def _dispatch(options: argparse.Namespace, context: commands.Context) -> int:
    match options.command:
        case "up":
            return commands.up(context)
        case "status":
            return commands.status(context)
        case "logs":
            return commands.logs(context, options.service, follow=options.follow, lines=options.lines)
        case "down":
            return commands.down(context, purge=options.purge)
    wanted = {"bootstrap_test_packages": options.tests, "bootstrap_bench_packages": options.bench}
    return commands.install(context, {name: True for name, is_wanted in wanted.items() if is_wanted})


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    # The clean-up that follows must not be cut short by an impatient second Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupt_once)
    signal.signal(signal.SIGTERM, _interrupt_once)
    sys.exit(run(sys.argv[1:], os.environ))
