"""`python -m mock_server SERVICE`: reads the environment, takes the ports, serves metrics, runs the workers."""

import argparse
import logging
import os
import sys
from socket import socket

from mock_server.control.http import create_control
from mock_server.control.token import ControlToken, load_token
from mock_server.environment import load_settings
from mock_server.errors import MetricsFolderError, PortTakenError, SettingsError
from mock_server.log import configure_logging
from mock_server.parent.exposition import MetricsFolder, create_registry, serve_metrics
from mock_server.parent.ports import listen
from mock_server.parent.supervision import Supervisor
from mock_server.settings import Settings

_log = logging.getLogger("mock_server")
_METRICS_BACKLOG = 64
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def main() -> int:
    """Runs one service until it is told to stop; returns 0, 1 (port taken, no worker starts) or 2 (settings)."""
    parser = argparse.ArgumentParser(prog="python -m mock_server", description="Run one mock service.")
    parser.add_argument("service", choices=["consoul"], help="the service to run")
    service = parser.parse_args().service
    try:
        settings = load_settings(os.environ)
        configure_logging(settings.log_level, settings.access_log)
        return _run(service, settings)
    except (SettingsError, PortTakenError, MetricsFolderError) as error:
        for line in str(error).splitlines():
            print(f"mock_server {service}: {line}", file=sys.stderr)  # noqa: T201 - for the person who started it
        return error.exit_code


def _run(service: str, settings: Settings) -> int:
    token = _load_token(settings)
    sockets = [listen(settings.host, settings.port, "CONSOUL_PORT", settings.backlog)]
    if not settings.prometheus_enabled:
        os.environ.pop(_FOLDER_VARIABLE, None)
        return _supervise(Supervisor(service, settings, sockets, on_death=lambda _: None), settings)
    variable = "CONSOUL_OBSERVABILITY_METRICS_PORT"
    metrics_socket = listen(settings.host, settings.metrics_port, variable, _METRICS_BACKLOG)
    folder = MetricsFolder(settings.host, settings.metrics_port)
    # The client library of the workers reads it when it is imported.
    os.environ[_FOLDER_VARIABLE] = str(folder.path)
    try:
        return _run_with_metrics(service, settings, sockets, metrics_socket, folder, token)
    finally:
        folder.remove()


def _run_with_metrics(
    service: str,
    settings: Settings,
    sockets: list[socket],
    metrics_socket: socket,
    folder: MetricsFolder,
    token: ControlToken | None,
) -> int:
    control_folder = None if token is None else folder.path
    supervisor = Supervisor(service, settings, sockets, on_death=folder.forget, control_folder=control_folder)
    control = None if token is None else create_control(token, folder.path, supervisor.pids, settings)
    server = serve_metrics(metrics_socket, create_registry(folder, supervisor.pids), control)
    try:
        return _supervise(supervisor, settings)
    finally:
        server.shutdown()


def _load_token(settings: Settings) -> ControlToken | None:
    if not settings.control_enabled:
        return None
    assert settings.control_token_file is not None
    return load_token(settings.control_token_file)


def _supervise(supervisor: Supervisor, settings: Settings) -> int:
    _log.info("Starting %d worker(s) on %s:%d.", settings.workers, settings.host, settings.port)
    supervisor.run()
    return 1 if supervisor.failed else 0


if __name__ == "__main__":
    sys.exit(main())
