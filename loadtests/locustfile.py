"""The only file Locust loads: its arguments and events, wired to the engine. Computes nothing.

Run by `python -m loadtests run`; by hand, without a record:
`locust -f loadtests/locustfile.py --load-profile consoul/smoke --host http://127.0.0.1:8000 --headless`
"""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from locust import events  # noqa: E402

from loadtests.engine.opened import OpenLoad  # noqa: E402
from loadtests.engine.session import Session, choose_plan  # noqa: E402
from loadtests.errors import LoadTestError  # noqa: E402

# Locust wants a user class before it reads its arguments; the profile decides in `prepare` which ones run.
__all__ = ["OpenLoad"]

_sessions: list[Session] = []


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    """Adds our arguments to Locust's."""
    parser.add_argument("--plan", default="", help="plan.json of a run folder", include_in_web_ui=False)
    parser.add_argument("--load-profile", default="", help="STACK/NAME or a file", include_in_web_ui=False)
    parser.add_argument("--wire-fd", type=int, help="where messages to the parent go", include_in_web_ui=False)
    parser.add_argument("--time-scale", type=float, default=1.0, help="with --load-profile", include_in_web_ui=False)


@events.init.add_listener
def prepare(environment: Any, **_: Any) -> None:
    """Binds the plan; what cannot be run ends the process with one line and the code of its cause."""
    options = environment.parsed_options
    try:
        plan = choose_plan(options, ROOT)
        _sessions.append(Session(environment, plan, os.environ.get("API_KEY") or None, options.wire_fd))
    except LoadTestError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(int(error.exit_code))


@events.quitting.add_listener
def finish(**_: Any) -> None:
    """Ends the run when it still runs; called more than once when a signal comes."""
    for session in _sessions:
        session.quit()
