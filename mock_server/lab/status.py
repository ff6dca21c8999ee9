"""How a native lab is doing, asked of its supervisor, its services and the system."""

from mock_server.lab.errors import SupervisorError
from mock_server.lab.native import NativeLab
from mock_server.lab.processes import measure_memory_bytes
from mock_server.lab.readiness import is_ready
from mock_server.lab.state import LabState, ServiceRecord
from mock_server.lab.supervision import ProgramState
from mock_server.lab.tables import ServiceStatus

UNSUPERVISED = "unsupervised"


def fetch_statuses(lab: NativeLab, state: LabState, now_s: float) -> list[ServiceStatus]:
    """One status for each service of `state`; `now_s` is the time of day in seconds since the epoch.

    When the supervisor is gone, its services are UNSUPERVISED.
    """
    try:
        programs = lab.supervisor.fetch_states()
    except SupervisorError:
        programs = {}
    return [_build_status(service, programs.get(service.name), now_s) for service in state.services]


def _build_status(service: ServiceRecord, program: ProgramState | None, now_s: float) -> ServiceStatus:
    pid = program.pid if program else None
    return ServiceStatus(
        name=service.name,
        state=program.state if program else UNSUPERVISED,
        pid=pid,
        uptime_s=now_s - program.started_at_s if program and pid else None,
        memory_bytes=measure_memory_bytes(pid) if pid else None,
        is_ready=all(is_ready(url) for url in service.ready_urls),
        url=service.links[0][1],
    )
