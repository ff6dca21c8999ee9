"""What parent and workers say to one another: one line of JSON each way over the Unix socket of a worker."""

from pathlib import Path

import msgspec

from mock_server.core.ledger import Entry
from mock_server.services.consoul.provider import ProviderConfig

# A command is small; an answer may hold many entries of the ledger.
COMMAND_LIMIT_BYTES = 65_536
PAGE_LIMIT_BYTES = 8_388_608
ANSWER_LIMIT_BYTES = 2 * PAGE_LIMIT_BYTES
# Linux allows 107 bytes for the path of a Unix socket, macOS 103.
PATH_LIMIT_BYTES = 100
_LONGEST_PID = 2**22


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Set every provider; an older revision than the worker has changes nothing."""

    revision: int
    configs: dict[str, ProviderConfig]


class ReadLedger(msgspec.Struct, frozen=True, tag="read_ledger"):
    """Return at most `limit` entries with a number beyond `after`, the oldest first."""

    after: int
    limit: int
    request_id: str | None = None
    transport: str | None = None


class ClearLedger(msgspec.Struct, frozen=True, tag="clear_ledger"):
    """Forget the ledger's entries."""


class ResetBreakers(msgspec.Struct, frozen=True, tag="reset_breakers"):
    """Close every breaker."""


class Describe(msgspec.Struct, frozen=True, tag="describe"):
    """Return what can be read without effort."""


Command = Configure | ReadLedger | ClearLedger | ResetBreakers | Describe


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed"):
    """Done. `revision` is the worker's own: never below that of the command."""

    worker: int
    revision: int


class LedgerPage(msgspec.Struct, frozen=True, tag="ledger_page"):
    """A part of one worker's ring, each entry `{"number", "entry"}`; `first` and `last` bound what the ring holds.

    `read_to` is the number up to which the ring was searched: where the next page goes on.
    """

    worker: int
    first: int
    last: int
    capacity: int
    read_to: int
    entries: list[msgspec.Raw]


class Description(msgspec.Struct, frozen=True, tag="description"):
    """A worker's state. `tasks` are those of its event loop, without the one that answers this."""

    worker: int
    uptime_s: float
    tasks: int
    revision: int
    breakers: dict[str, str]
    connections: int
    ledger_first: int
    ledger_last: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The worker could not make sense of the line, or failed at it."""

    reason: str


Answer = Confirmed | LedgerPage | Description | Refused


class Desired(msgspec.Struct, frozen=True):
    """What the parent wants of every worker; kept in a file, from which one that starts later takes it."""

    revision: int
    configs: dict[str, ProviderConfig]


_entry_encoder = msgspec.json.Encoder(enc_hook=list)


def encode_kept(number: int, entry: Entry) -> msgspec.Raw:
    """Returns an entry of the ledger as it goes into a page; its runs are lists of [seconds, number of tokens]."""
    return msgspec.Raw(_entry_encoder.encode({"number": number, "entry": entry}))


def socket_path(folder: Path, pid: int) -> Path:
    """Returns where the worker with that process id listens."""
    return folder / f"control-{pid}.sock"


def find_sockets(folder: Path) -> dict[int, Path]:
    """Returns process id → path of every worker's socket."""
    return {int(path.stem.removeprefix("control-")): path for path in folder.glob("control-*.sock")}


def is_too_long(folder: Path) -> bool:
    """Returns whether a socket in that folder would have a longer path than systems allow."""
    return len(bytes(socket_path(folder, _LONGEST_PID))) > PATH_LIMIT_BYTES


def desired_path(folder: Path) -> Path:
    """Returns the file that holds what the parent wants."""
    return folder / "control.json"


def write_desired(folder: Path, desired: Desired) -> None:
    """Writes it so that a reader sees the old or the new, whole."""
    path = desired_path(folder)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(desired))
    temporary.replace(path)


def read_desired(folder: Path) -> Desired | None:
    """Returns what the parent wants; None while it is what the settings say."""
    try:
        return msgspec.json.decode(desired_path(folder).read_bytes(), type=Desired)
    except FileNotFoundError:
        return None
