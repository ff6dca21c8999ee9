"""Writes the dashboards as canonical JSON: `python -m grafana.generate`, or `--check` to compare without writing."""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import consoul
from grafana.panels import Dashboard, build_dashboard

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = (consoul.DASHBOARD,)


def render(dashboard: Dashboard) -> str:
    """The dashboard as JSON in one form only: sorted keys, two spaces, a newline at the end."""
    return json.dumps(build_dashboard(dashboard), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def find_stale(folder: Path) -> list[Path]:
    """Files that are missing or differ from what would be generated, and files nothing generates."""
    wanted = {folder / f"{dashboard.uid}.json": render(dashboard) for dashboard in DASHBOARDS}
    differing = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    return sorted(differing + [path for path in folder.glob("*.json") if path not in wanted])


def main(arguments: list[str]) -> int:
    """Writes every dashboard; with --check, code 1 when a committed file is stale."""
    parser = argparse.ArgumentParser(prog="python -m grafana.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a file is stale")
    if parser.parse_args(arguments).check:
        stale = find_stale(FOLDER)
        for path in stale:
            sys.stderr.write(f"{path}: differs from what is generated; run python -m grafana.generate\n")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.uid}.json").write_text(render(dashboard), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
