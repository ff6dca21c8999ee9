"""What each command of the lab does, in words and exit code, whichever way the lab runs."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from mock_server.lab import bootstrap, compose
from mock_server.lab.binaries import Binaries, find_binaries
from mock_server.lab.errors import LabError, StateError
from mock_server.lab.logs import build_tail_command, read_last_lines
from mock_server.lab.native import NativeLab, Say, find_running_state, purge_data, resume_lab, start_lab, stop_lab
from mock_server.lab.presets import Preset
from mock_server.lab.processes import find_lab_processes
from mock_server.lab.settings import build_instances
from mock_server.lab.state import LabState, hold_lock, read_state
from mock_server.lab.status import UNSUPERVISED, fetch_statuses
from mock_server.lab.tables import render_addresses, render_columns, render_status

NOT_UP = 3


@dataclass(frozen=True)
class Context:
    """One command at one terminal: the lab it is about, the machine it runs on, and where its words go."""

    lab: NativeLab
    host: bootstrap.Host
    say: Say

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables the person gave."""
        return self.lab.variables


def up(context: Context) -> int:
    """Brings the lab up, or says that it is; returns when every service answers ready."""
    started_s = time.monotonic()
    lab, say = context.lab, context.say
    with hold_lock(lab.paths.lock_file):
        state = _find_state(lab)
        if state is not None and state.stack != lab.settings.stack:
            raise LabError(
                f"The stack {state.stack} is up; the stacks share ports. Run `make down` first, then this."
            )
        if state is not None:
            say(f"The {state.stack} lab is up already.")
            _refuse_another_count(state, lab.settings.instances)
        if _choose_mode(context, state) == "compose":
            state = compose.start_compose(lab.settings, lab.variables, lab.paths, state)
        elif state is not None:
            resume_lab(lab, state, _find_binaries(context), say)
        else:
            state = start_lab(lab, _obtain_binaries(context), say)
    say(f"The {state.stack} lab is ready ({state.mode}, {time.monotonic() - started_s:.1f} s).")
    say(render_addresses(state))
    return 0


def _refuse_another_count(state: LabState, asked: int | None) -> None:
    if asked in (None, state.instances):
        return
    raise LabError(
        f"It has {state.instances} Consoul instance{'s' if state.instances > 1 else ''}, and INSTANCES={asked} was "
        "asked for. Run `make down` first, then this."
    )


def list_presets(presets: Mapping[str, Preset], say: Say) -> int:
    """Prints every preset with what it is for."""
    say(render_columns([(preset.name, preset.title) for preset in presets.values()]))
    say("Use: make up PRESET=breaker-sensitive, or several joined by commas.")
    return 0


def down(context: Context, *, purge: bool) -> int:
    """Ends everything of the lab; harmless when nothing runs. Logs stay; data stays unless `purge`."""
    lab, say = context.lab, context.say
    with hold_lock(lab.paths.lock_file):
        state, mode = _read_whatever_state(context)
        if mode == "compose":
            extra = ["--volumes"] if purge else []
            _run_compose(lab, state, "down", "--remove-orphans", *extra)
            lab.paths.compose_instances.unlink(missing_ok=True)
        ended = stop_lab(lab)
        if purge:
            purge_data(lab.paths)
    if state is None and not ended:
        say("The lab is not up; nothing to end.")
    else:
        say(f"The {state.stack if state else lab.settings.stack} lab is down.")
    if purge:
        say("The data of its Redis and Prometheus is removed.")
    return 0


def _read_whatever_state(context: Context) -> tuple[LabState | None, str | None]:
    """The state and its mode; of a state that cannot be read the mode alone, where it is there."""
    try:
        state = read_state(context.lab.paths.state_file)
    except StateError as error:
        context.say(f"{error.args[0].partition('. `make')[0]}; ending it all the same.")
        return None, error.mode
    return state, state.mode if state else None


def status(context: Context) -> int:
    """Prints one line for each service; 0 when all are ready, 3 when the lab or a part of it is not."""
    lab, say = context.lab, context.say
    state = read_state(lab.paths.state_file)
    if state is None:
        left = len(find_lab_processes(lab.paths))
        say("The lab is not up." + (f" {left} of its processes still run; `make down` ends them." if left else ""))
        return NOT_UP
    say(f"The {state.stack} lab ({state.mode}):")
    if state.mode == "compose":
        _run_compose(lab, state, "ps")
    statuses = fetch_statuses(lab, state, time.time())
    if state.mode == "native":
        say(render_status(statuses))
        if any(row.state == UNSUPERVISED for row in statuses):
            say("  Its process supervisor is gone; `make up` starts it anew, `make down` ends what is left.")
    for note in state.notes:
        say(f"  {note}")
    is_supervised = state.mode == "compose" or not any(row.state == UNSUPERVISED for row in statuses)
    return 0 if is_supervised and all(row.is_ready for row in statuses) else NOT_UP


def logs(context: Context, service: str | None, *, follow: bool, lines: int) -> int:
    """Prints the last `lines` of each log, or of one service's; goes on until Ctrl-C with `follow`."""
    lab = context.lab
    state = read_state(lab.paths.state_file)
    if state is not None and state.mode == "compose":
        words = ["--tail", str(lines), *(["--follow"] if follow else []), *compose.build_logs_arguments(service)]
        _run_compose(lab, state, "logs", *words)
        return 0
    command = build_tail_command(lab.paths.log_dir, service, follow=follow, lines=lines)
    return subprocess.run(command, check=False).returncode


def install(context: Context, extra: bootstrap.ExtraVariables) -> int:
    """Installs packages through the playbook; says so where this machine cannot be given any. Raises LabError."""
    host, lab = context.host, context.lab
    if not (host.is_root and host.is_debian):
        context.say("Packages are installed only as root on a Debian family machine; going on with what is here.")
        return 0
    log = lab.paths.log_dir / "bootstrap.log"
    if bootstrap.run_playbook(lab.settings.root, log, lab.variables, extra):
        return 0
    raise LabError(f"The packages could not be installed. The last lines of {log}:\n{read_last_lines(log)}")


def _run_compose(lab: NativeLab, state: LabState | None, *arguments: str) -> None:
    ports, count = lab.settings.ports, state.instances if state else 1
    instances = build_instances(ports, count)
    variables = compose.build_variables(lab.variables, ports, instances, lab.paths, os.geteuid())
    compose.run_compose(lab.settings, lab.paths, variables, *arguments)


def _find_state(lab: NativeLab) -> LabState | None:
    state = read_state(lab.paths.state_file)
    return state if state is not None and state.mode == "compose" else find_running_state(lab)


def _has_docker(variables: Mapping[str, str]) -> bool:
    return compose.has_engine(variables) and compose.has_compose(variables)


def _choose_mode(context: Context, state: LabState | None) -> str:
    asked = context.lab.settings.mode
    if state is None:
        return compose.choose_mode(asked, lambda: _has_docker(context.variables))
    if asked not in ("auto", state.mode):
        raise LabError(f"The lab is up as LAB={state.mode}, and LAB={asked} was asked for. Run `make down` first.")
    return state.mode


def _obtain_binaries(context: Context) -> Binaries:
    lab = context.lab
    binaries = _find_binaries(context)
    missing = binaries.find_missing_packages(lab.settings.instances or 1)
    decision = bootstrap.decide(missing, context.host, may_bootstrap=lab.settings.may_bootstrap)
    if decision.line:
        context.say(decision.line)
    if decision.verdict != "install":
        return binaries
    log = lab.paths.log_dir / "bootstrap.log"
    wanted: bootstrap.ExtraVariables = {"bootstrap_lab_package_names": list(missing)}
    if not bootstrap.run_playbook(lab.settings.root, log, lab.variables, wanted):
        context.say(f"Could not install them (see {log}); going on with what is here.")
    return _find_binaries(context)


def _find_binaries(context: Context) -> Binaries:
    path = context.variables.get("PATH", os.defpath)
    return find_binaries(lambda name: shutil.which(name, path=path) or _find_for_root(name))


def _find_for_root(name: str) -> str | None:
    """Debian keeps nginx where only root's PATH looks."""
    return shutil.which(name, path="/usr/sbin:/usr/local/sbin") if name == "nginx" else None
