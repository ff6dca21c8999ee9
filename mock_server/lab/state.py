"""What a lab remembers on disk: its own state, and `lab.json` for the instrument; written whole or not at all."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mock_server.lab.errors import LabError, StateError
from mock_server.lab.plan import Plan, Service

_SCHEMA = 1


@dataclass(frozen=True)
class ServiceRecord:
    """What a later command needs to know of a service that was started."""

    name: str
    ready_urls: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    rank: int


@dataclass(frozen=True)
class LabState:
    """The lab that was brought up last and not yet taken down. `settings_digest` tells whether settings changed."""

    stack: str
    mode: str
    services: tuple[ServiceRecord, ...]
    notes: tuple[str, ...]
    settings_digest: str
    redis_port: int
    lab_file: Mapping[str, object]
    instances: int = 1
    schema: int = _SCHEMA


def build_state(plan: Plan, settings_digest: str) -> LabState:
    """The state of a native lab that runs `plan`."""
    records = tuple(_build_record(service) for service in plan.services)
    return LabState(
        plan.stack,
        "native",
        records,
        plan.notes,
        settings_digest,
        plan.ports.redis,
        plan.lab_file,
        len(plan.instances),
    )


def _build_record(service: Service) -> ServiceRecord:
    return ServiceRecord(service.name, service.ready_urls, service.links, service.rank)


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Replaces `path` by `document` so that a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w") as handle:
        json.dump(document, handle, indent=2)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_state(path: Path, state: LabState) -> None:
    """Stores `state` at `path`."""
    write_json(path, asdict(state))


def read_state(path: Path) -> LabState | None:
    """The stored state; None when no lab was brought up. Raises StateError when the file is not one of ours."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    document = None
    try:
        document = json.loads(text)
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']!r}, wanted {_SCHEMA}")
        state = LabState(**document)
        services = tuple(_parse_record(record) for record in document["services"])
    except (ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"{path}: not what this version of the lab writes ({error}). "
            "`make down` ends that lab and removes the file.",
            str(document["mode"]) if isinstance(document, dict) and "mode" in document else None,
        ) from error
    return replace(state, services=services, notes=tuple(state.notes))


def _parse_record(record: Mapping[str, object]) -> ServiceRecord:
    ready_urls, links, rank = record["ready_urls"], record["links"], record["rank"]
    if not isinstance(ready_urls, list) or not isinstance(links, list) or not isinstance(rank, int):
        raise TypeError(f"service {record.get('name')!r} is malformed")
    pairs = tuple((str(label), str(url)) for label, url in links)
    return ServiceRecord(str(record["name"]), tuple(str(url) for url in ready_urls), pairs, rank)


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Keeps two commands from changing one lab at once. Raises LabError when another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise LabError(f"Another command (pid {holder}) is changing this lab; wait for it to end.") from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield
