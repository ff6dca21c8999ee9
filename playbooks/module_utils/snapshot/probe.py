"""A probe reads one field; a field is a value with a class, or null with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .host import AbsentError, Host

if TYPE_CHECKING:
    from typing import NotRequired, TypedDict

    from .host import Json

    Field = TypedDict("Field", {"value": Json, "class": str, "reason": NotRequired[str]})

IDENTITY = "identity"
HOST = "host"
SUBJECT = "subject"
VOLATILE = "volatile"
# In the order a reader wants them: must match, should match, expected to differ, never compared.
CLASSES = (IDENTITY, HOST, SUBJECT, VOLATILE)


@dataclass(frozen=True)
class Probe:
    """One field of the snapshot: its dotted name, its class, and how it is read."""

    name: str
    kind: str
    read: Callable[[Host], Json]


def read_field(probe: Probe, host: Host) -> Field:
    """The field of one probe. Never raises for what a host lacks or words strangely: that is the reason of a null."""
    try:
        value = probe.read(host)
    except AbsentError as absent:
        return {"value": None, "class": probe.kind, "reason": str(absent)}
    except (OSError, ValueError, LookupError) as error:
        return {"value": None, "class": probe.kind, "reason": f"could not be understood: {error!r}"[:200]}
    if value is None:
        return {"value": None, "class": probe.kind, "reason": "not reported by this host"}
    return {"value": value, "class": probe.kind}


def read_fields(probes: Iterable[Probe], host: Host) -> dict[str, Field]:
    """Fields of several probes by name."""
    return {probe.name: read_field(probe, host) for probe in probes}
