"""Takes the snapshot: runs every probe on a host and returns one schema-versioned mapping."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .activity import ACTIVITY_PROBES
from .host import Host
from .limits import LIMIT_PROBES
from .machine import GPU_PROBES, MACHINE_PROBES
from .network import NETWORK_PROBES
from .probe import Probe, read_fields
from .software import PROGRAM_PROBES, SOFTWARE_PROBES, SOURCE_PROBES

if TYPE_CHECKING:
    from typing import TypedDict

    from .probe import Field

    class Snapshot(TypedDict):
        """The form of what `collect` returns and of the JSON written from it."""

        schema: int
        taken_at: str
        taken_at_s: float
        took_s: float
        fields: dict[str, Field]


SCHEMA = 1
# Groups run side by side: those that wait for commands must not add up.
_GROUPS: tuple[tuple[Probe, ...], ...] = (
    MACHINE_PROBES,
    LIMIT_PROBES,
    NETWORK_PROBES,
    SOFTWARE_PROBES,
    PROGRAM_PROBES,
    SOURCE_PROBES,
    GPU_PROBES,
    ACTIVITY_PROBES,
)


def collect(host: Host) -> Snapshot:
    """The environment of a host: `schema`, `taken_at` (UTC), `took_s`, and `fields` by dotted name.

    A field is `{"value", "class"}`; where the value is null, `reason` says why. Never raises for what a host lacks.
    """
    started_s = host.clock()
    fields: dict[str, Field] = {}
    with ThreadPoolExecutor(max_workers=len(_GROUPS)) as pool:
        for group in pool.map(lambda probes: read_fields(probes, host), _GROUPS):
            fields.update(group)
    return {
        "schema": SCHEMA,
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started_s)),
        "taken_at_s": round(started_s, 3),
        "took_s": round(host.clock() - started_s, 3),
        "fields": fields,
    }
