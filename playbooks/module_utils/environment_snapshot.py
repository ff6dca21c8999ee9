"""Command line of the environment snapshot: collects, renders or compares. Computes nothing itself.

python playbooks/module_utils/environment_snapshot.py [--page] [--output FILE]
python playbooks/module_utils/environment_snapshot.py --read FILE --page
python playbooks/module_utils/environment_snapshot.py --difference BEFORE AFTER
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if not __package__:  # run by its path: the project is then not importable by name
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playbooks.module_utils.snapshot.collect import collect
from playbooks.module_utils.snapshot.difference import difference
from playbooks.module_utils.snapshot.host import live_host
from playbooks.module_utils.snapshot.page import render_page

BAD_USAGE = 2


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line, checked; a mistake ends the process with code 2."""
    parser = argparse.ArgumentParser(prog="environment_snapshot", description="Record the environment of this host.")
    parser.add_argument("--root", default="/", help="read the host's files under this folder (default: /)")
    parser.add_argument(
        "--repository", type=Path, help="git checkout whose state is recorded (default: this project)"
    )
    parser.add_argument("--target-settings", type=Path, metavar="FILE", help="JSON object; secrets are masked")
    parser.add_argument("--read", type=Path, metavar="FILE", help="take the snapshot from FILE instead of this host")
    parser.add_argument("--page", action="store_true", help="print a readable page instead of JSON")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the snapshot's JSON to FILE as well")
    parser.add_argument(
        "--difference", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help="print what differs between two files"
    )
    return parser.parse_args(arguments)


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ValueError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a JSON {type(content).__name__}, expected an object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def produce(options: argparse.Namespace) -> str:
    """The text to print; raises ValueError for a file that cannot be used and OSError for one not written."""
    if options.difference:
        before, after = map(load_json, options.difference)
        return json.dumps(difference(before, after), indent=2) + "\n"
    snapshot: Mapping[str, Any]
    if options.read:
        snapshot = load_json(options.read)
    else:
        settings = load_json(options.target_settings) if options.target_settings else None
        repository = options.repository or Path(__file__).resolve().parents[2]
        snapshot = collect(live_host(options.root, repository, settings))
    if options.output:
        write_json(options.output, snapshot)
    return render_page(snapshot) if options.page else json.dumps(snapshot, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Exit code: 0, or 2 when an argument or file cannot be used."""
    try:
        text = produce(parse_arguments(arguments))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"environment_snapshot: {error}\n")
        return BAD_USAGE
    except KeyError as error:
        sys.stderr.write(f"environment_snapshot: the file is not a snapshot: it has no {error}\n")
        return BAD_USAGE
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
