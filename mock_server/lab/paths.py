"""Where a lab keeps its files: one folder for what lasts, one short folder for its socket."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LabPaths:
    """Every path of one lab. `runtime_dir` is short because Unix limits a socket's path to 108 bytes."""

    lab_dir: Path
    runtime_dir: Path

    @property
    def marker(self) -> str:
        """What sets this lab's processes apart from another checkout's."""
        return str(self.lab_dir)

    @property
    def lab_file(self) -> Path:
        """What the instrument reads; present only while the lab is ready."""
        return self.lab_dir / "lab.json"

    @property
    def state_file(self) -> Path:
        """What the lab itself remembers between `up` and `down`."""
        return self.lab_dir / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held by whoever brings the lab up or down."""
        return self.lab_dir / "lock"

    @property
    def log_dir(self) -> Path:
        """One log for each service; kept by `down`."""
        return self.lab_dir / "logs"

    @property
    def data_dir(self) -> Path:
        """What Redis and Prometheus store; kept by `down` unless purged."""
        return self.lab_dir / "data"

    @property
    def redis_dir(self) -> Path:
        """The working directory of Redis."""
        return self.data_dir / "redis"

    @property
    def prometheus_dir(self) -> Path:
        """The storage of Prometheus."""
        return self.data_dir / "prometheus"

    @property
    def prometheus_config(self) -> Path:
        """The scrape configuration with this lab's ports."""
        return self.lab_dir / "prometheus.yml"

    @property
    def supervisor_config(self) -> Path:
        """The supervisor's generated configuration."""
        return self.lab_dir / "supervisord.conf"

    @property
    def password_file(self) -> Path:
        """The password of Grafana's admin, for a lab in containers."""
        return self.lab_dir / "secrets" / "grafana-admin-password"

    @property
    def compose_instances(self) -> Path:
        """What is added to docker-compose.yml for several instances; there only for such a lab in containers."""
        return self.lab_dir / "compose-instances.json"

    @property
    def control_token_file(self) -> Path:
        """The token of the mock's control plane, where the person names no other."""
        return self.lab_dir / "secrets" / "control-token"

    @property
    def nginx_dir(self) -> Path:
        """Everything nginx reads and writes, when it stands before several instances."""
        return self.lab_dir / "nginx"

    @property
    def nginx_config(self) -> Path:
        """Its generated configuration."""
        return self.nginx_dir / "nginx.conf"

    @property
    def socket(self) -> Path:
        """Where the supervisor takes calls."""
        return self.runtime_dir / "supervisor.sock"

    @property
    def pid_file(self) -> Path:
        """The supervisor's process id."""
        return self.runtime_dir / "supervisord.pid"


def locate_lab(lab_dir: Path, temporary_dir: Path, user_id: int) -> LabPaths:
    """Paths of the lab in `lab_dir`; the same lab gets the same paths from every terminal.

    Takes the temporary folder and not a session's own runtime folder: that one differs between logins.
    """
    digest = hashlib.sha256(str(lab_dir).encode()).hexdigest()[:12]
    return LabPaths(lab_dir, temporary_dir / f"load-lab-{user_id}-{digest}")
