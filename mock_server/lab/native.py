"""The lab as processes on this machine: brought up in order, reported on, taken down without a trace."""

import contextlib
import hashlib
import os
import pwd
import resource
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mock_server.lab.binaries import Binaries
from mock_server.lab.environment import build_environment
from mock_server.lab.errors import LabError, NotReadyError, StateError, SupervisorError
from mock_server.lab.logs import read_last_lines
from mock_server.lab.nginx import build_proxy
from mock_server.lab.nginx import render_config as render_proxy_config
from mock_server.lab.paths import LabPaths
from mock_server.lab.plan import Plan, build_plan
from mock_server.lab.ports import find_port_owner, resolve_ports
from mock_server.lab.processes import end_processes, find_lab_processes, wait_for_end, wake_processes
from mock_server.lab.readiness import is_ready, wait_until
from mock_server.lab.scrape import render_scrape_config
from mock_server.lab.secret_files import make_secret_file
from mock_server.lab.settings import HOST, LabSettings, Ports, list_places
from mock_server.lab.state import LabState, ServiceRecord, build_state, read_state, write_json, write_state
from mock_server.lab.supervision import Supervisor, render_config, spawn_supervisor

READY_DEADLINE_S = 30.0
SUPERVISOR_DEADLINE_S = 10.0
# Longer than the longest `stop_wait_s` of two ranks, after which the supervisor itself uses force.
STOP_DEADLINE_S = 50.0
_WANTED_OPEN_FILES = 65536
# What changes how the mock behaves; a lab that runs with other values is not the one asked for.
_SETTINGS_PREFIXES = ("CONSOUL_", "MOCK_", "HTTPX_", "OPENAI_", "ANTHROPIC_", "REDIS_URL", "PYTHONGC_")

Say = Callable[[str], None]


@dataclass(frozen=True)
class NativeLab:
    """One lab: what was asked for, where it lies, and the variables its processes inherit."""

    settings: LabSettings
    paths: LabPaths
    variables: Mapping[str, str]

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of this lab, whether or not it runs."""
        return Supervisor(self.paths.socket)


def find_running_state(lab: NativeLab) -> LabState | None:
    """The state of the lab when its supervisor answers; None otherwise."""
    state = read_state(lab.paths.state_file)
    return state if state is not None and lab.supervisor.is_answering() else None


def resume_lab(lab: NativeLab, state: LabState, binaries: Binaries, say: Say) -> None:
    """Starts what has stopped in a lab that is up already, and says when it runs with other settings than asked."""
    ports = lab.settings.ports
    if ports.redis_fallback is not None:
        ports = replace(ports, redis=state.redis_port, redis_fallback=None)
    if build_native(lab, ports, state.instances, binaries).settings_digest != state.settings_digest:
        say("The lab that is up was started with other settings; `make down` and `make up` apply the ones of now.")
    start_services(lab, state.services)
    # An `up` that was killed before its end has not written it.
    write_json(lab.paths.lab_file, state.lab_file)


def start_lab(lab: NativeLab, binaries: Binaries, say: Say) -> LabState:
    """Starts everything and returns when all of it is ready. On any failure, Ctrl-C included, nothing is left."""
    remove_leftovers(lab, say)
    count = lab.settings.instances or 1
    unused = {"grafana"} if binaries.prometheus else {"grafana", "prometheus"}
    places = {name: place for name, place in list_places(lab.settings.ports, count).items() if name not in unused}
    # Before the ports are asked: what cannot be planned needs none.
    build_native(lab, lab.settings.ports, count, binaries)
    native = build_native(lab, resolve_ports(lab.settings.ports, places, find_port_owner), count, binaries)
    if native.plan.ports.redis != lab.settings.ports.redis:
        say(f"Port {lab.settings.ports.redis} is taken: the lab's Redis takes {native.plan.ports.redis}.")
    state = build_state(native.plan, native.settings_digest)
    try:
        _prepare_files(lab, native)
        write_state(lab.paths.state_file, state)
        _start_supervisor(lab, native.plan)
        start_services(lab, state.services)
        write_json(lab.paths.lab_file, state.lab_file)
    except BaseException:
        stop_lab(lab)
        raise
    return state


@dataclass(frozen=True)
class Native:
    """A plan with the text of its generated files and a digest of all that shapes its behaviour."""

    plan: Plan
    config: str
    proxy_config: str
    settings_digest: str


def build_native(lab: NativeLab, ports: Ports, count: int, binaries: Binaries) -> Native:
    """What `up` would run now, with `count` Consoul instances."""
    plan = build_plan(lab.settings, lab.paths, ports, count, binaries, lab.variables, sys.executable)
    user = pwd.getpwuid(0).pw_name if os.geteuid() == 0 else None
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = min(hard_limit, _WANTED_OPEN_FILES)
    config = render_config(plan.services, lab.paths, open_files, user)
    proxy = build_proxy(
        f"{HOST}:{ports.consoul}",
        [f"{HOST}:{instance.port}" for instance in plan.instances],
        lab.variables,
        processors=os.cpu_count() or 1,
        open_files=open_files,
        user=user,
    )
    proxy_config = render_proxy_config(proxy)
    environment = _build_environment(lab, ports)
    digest = hashlib.sha256(config.encode() + proxy_config.encode())
    for name in sorted(environment):
        if name.startswith(_SETTINGS_PREFIXES):
            digest.update(f"\0{name}={environment[name]}".encode())
    return Native(plan, config, proxy_config, digest.hexdigest())


def _build_environment(lab: NativeLab, ports: Ports) -> dict[str, str]:
    return build_environment(lab.variables, ports, lab.paths.marker, lab.paths.control_token_file)


def _prepare_files(lab: NativeLab, native: Native) -> None:
    paths = lab.paths
    for folder in (paths.log_dir, paths.redis_dir, paths.prometheus_dir):
        folder.mkdir(parents=True, exist_ok=True)
    _make_private_folder(paths.runtime_dir)
    make_secret_file(paths.control_token_file, secrets.token_urlsafe(32), os.geteuid())
    plan, scrape_dir = native.plan, lab.settings.root / "prometheus"
    if any(service.name == "prometheus" for service in plan.services):
        committed = (scrape_dir / "prometheus.yml").read_text()
        paths.prometheus_config.write_text(render_scrape_config(committed, plan.ports, plan.instances, scrape_dir))
    if len(plan.instances) > 1:
        paths.nginx_dir.mkdir(exist_ok=True)
        paths.nginx_config.write_text(native.proxy_config)
    paths.supervisor_config.write_text(native.config)


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise LabError(
            f"{folder}: wanted a folder of our own that nobody else can enter. Remove it and run this again."
        )


def _start_supervisor(lab: NativeLab, plan: Plan) -> None:
    environment = _build_environment(lab, plan.ports)
    process = spawn_supervisor(lab.paths, environment, lab.settings.root)
    answered = wait_until(
        lambda: process.poll() is not None or lab.supervisor.is_answering(), deadline_s=SUPERVISOR_DEADLINE_S
    )
    if not answered or process.returncode is not None:
        raise SupervisorError(
            f"The process supervisor did not start (exit code {process.returncode}).\n"
            + read_last_lines(lab.paths.log_dir / "supervisord.out")
        )


def start_services(lab: NativeLab, services: tuple[ServiceRecord, ...]) -> None:
    """Starts what does not run, rank after rank, and waits until each rank is ready. Raises NotReadyError."""
    for rank in sorted({service.rank for service in services}):
        members = [service for service in services if service.rank == rank]
        states = lab.supervisor.fetch_states()
        for service in members:
            if states[service.name].is_running:
                continue
            if not states[service.name].is_ended:
                # It keeps dying and is about to be tried again; trying at once shows whether it still does.
                with contextlib.suppress(SupervisorError):
                    lab.supervisor.stop(service.name)
            lab.supervisor.start(service.name)
        for service in members:
            _wait_until_ready(lab, service)


def _wait_until_ready(lab: NativeLab, service: ServiceRecord) -> None:
    pid = lab.supervisor.fetch_states()[service.name].pid

    def has_ended() -> bool:
        state = lab.supervisor.fetch_states()[service.name]
        return not state.is_running or state.pid != pid

    started_s = time.monotonic()
    ended = False

    def is_settled() -> bool:
        nonlocal ended
        ended = has_ended()
        return ended or all(is_ready(url) for url in service.ready_urls)

    if wait_until(is_settled, READY_DEADLINE_S) and not ended:
        return
    log = lab.paths.log_dir / f"{service.name}.log"
    what = "ended instead of becoming ready" if ended else "did not become ready"
    raise NotReadyError(
        f"{service.name} {what} ({time.monotonic() - started_s:.1f} s; asked {', '.join(service.ready_urls)}).\n"
        f"The last lines of {log}:\n{read_last_lines(log)}"
    )


def remove_leftovers(lab: NativeLab, say: Say) -> None:
    """Ends what a killed supervisor or an interrupted command left of this lab, and says so."""
    if count := stop_lab(lab):
        say(f"Ended {count} process{'es' if count > 1 else ''} that an earlier lab left behind.")


def stop_lab(lab: NativeLab) -> int:
    """Ends every process of this lab and removes its socket and state; returns how many processes there were."""
    paths = lab.paths
    paths.lab_file.unlink(missing_ok=True)
    processes = find_lab_processes(paths)
    if processes:
        wake_processes(processes)
        with contextlib.suppress(SupervisorError):
            stop_services(lab)
            lab.supervisor.shut_down()
            wait_for_end(processes, STOP_DEADLINE_S)
        end_processes(find_lab_processes(paths))
    shutil.rmtree(paths.runtime_dir, ignore_errors=True)
    paths.state_file.unlink(missing_ok=True)
    return len(processes)


def stop_services(lab: NativeLab) -> None:
    """Stops what runs, the last rank first and each rank at once; told to shut down, the supervisor goes one by one.

    Raises SupervisorError when the supervisor does not answer.
    """
    try:
        state = read_state(lab.paths.state_file)
    except StateError:
        state = None
    ranks = {service.name: service.rank for service in state.services} if state else {}
    programs = lab.supervisor.fetch_states()
    for rank in sorted({ranks.get(name, 0) for name in programs}, reverse=True):
        members = [name for name in programs if ranks.get(name, 0) == rank and not programs[name].is_ended]
        for name in members:
            with contextlib.suppress(SupervisorError):
                lab.supervisor.stop(name)
        wait_until(lambda names=members: _have_ended(lab, names), STOP_DEADLINE_S)  # type: ignore[misc]


def _have_ended(lab: NativeLab, names: list[str]) -> bool:
    programs = lab.supervisor.fetch_states()
    return all(programs[name].is_ended for name in names)


def purge_data(paths: LabPaths) -> None:
    """Removes what Redis and Prometheus stored. Only for a lab that is down."""
    shutil.rmtree(paths.data_dir, ignore_errors=True)
