"""The worker's side: obeys commands on a Unix socket of its own, whatever state Redis is in."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from mock_server.control.wire import (
    COMMAND_LIMIT_BYTES,
    PAGE_LIMIT_BYTES,
    Answer,
    ClearLedger,
    Command,
    Configure,
    Confirmed,
    Describe,
    Description,
    LedgerPage,
    ReadLedger,
    Refused,
    ResetBreakers,
    encode_kept,
    read_desired,
    socket_path,
)
from mock_server.core.breaker import CircuitBreaker
from mock_server.core.ledger import Entry, Ledger
from mock_server.services.consoul.connections import Connections
from mock_server.services.consoul.providers import Providers

_log = logging.getLogger(__name__)
# Entries looked at before the event loop gets its turn: a large ledger must not delay the requests it tells of.
_SLICE = 250


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one worker that the control plane reads and sets."""

    providers: Providers
    breakers: Mapping[str, CircuitBreaker]
    ledger: Ledger
    connections: Connections


class Commands:
    """Carries out commands, one after the other; `worker` is the worker's number."""

    def __init__(self, parts: Parts, worker: int, monotonic_s: Callable[[], float]):
        self._parts = parts
        self._worker = worker
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self.revision = 0

    async def carry_out(self, command: Command) -> Answer:
        """Returns the answer to one command."""
        match command:
            case Configure():
                self.configure(command)
            case ReadLedger():
                return await self._read_ledger(command)
            case ClearLedger():
                self._parts.ledger.clear()
            case ResetBreakers():
                for breaker in self._parts.breakers.values():
                    breaker.reset()
            case Describe():
                return self._describe()
        return Confirmed(self._worker, self.revision)

    def configure(self, command: Configure) -> None:
        """Sets every provider, unless a newer revision already did."""
        if command.revision > self.revision:
            self._parts.providers.replace(command.configs)
            self.revision = command.revision

    async def _read_ledger(self, command: ReadLedger) -> LedgerPage:
        ledger = self._parts.ledger
        first, last = ledger.first, ledger.last
        page: list[msgspec.Raw] = []
        size_bytes = 0
        read_to = last
        for index, (number, entry) in enumerate(ledger.newer(command.after)):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if not _is_wanted(entry, command):
                continue
            if len(page) == command.limit or size_bytes > PAGE_LIMIT_BYTES:
                read_to = number - 1
                break
            page.append(encode_kept(number, entry))
            size_bytes += len(bytes(page[-1]))
        return LedgerPage(self._worker, first, last, ledger.capacity, max(read_to, command.after), page)

    def _describe(self) -> Description:
        parts = self._parts
        return Description(
            self._worker,
            self._monotonic_s() - self._started_s,
            len(asyncio.all_tasks()) - 1,
            self.revision,
            {name: breaker.state.name.lower() for name, breaker in parts.breakers.items()},
            parts.connections.total,
            parts.ledger.first,
            parts.ledger.last,
        )


def _is_wanted(entry: Entry, command: ReadLedger) -> bool:
    return (command.request_id is None or entry.request_id == command.request_id) and (
        command.transport is None or entry.transport == command.transport
    )


class ControlSocket:
    """Listens while the application runs: one line is a command, one line its answer, as many as the parent likes."""

    def __init__(self, commands: Commands, folder: Path):
        self._commands = commands
        self._folder = folder
        self._path = socket_path(folder, os.getpid())
        self._decoder = msgspec.json.Decoder(Command)
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> None:
        # A worker that was killed left its socket behind, and its process id may come again.
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=COMMAND_LIMIT_BYTES)
        # Only now: the parent writes the file before it looks for sockets, so no change can fall between the two.
        desired = read_desired(self._folder)
        if desired is not None:
            self._commands.configure(Configure(desired.revision, desired.configs))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._path.unlink(missing_ok=True)
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError):
                await self._converse(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                writer.write(_encode(Refused(f"a line may have {COMMAND_LIMIT_BYTES} bytes")))
                await writer.drain()
                return
            if not line.endswith(b"\n"):
                return
            writer.write(_encode(await self._answer(line)))
            await writer.drain()

    async def _answer(self, line: bytes) -> Answer:
        try:
            return await self._commands.carry_out(self._decoder.decode(line))
        except msgspec.MsgspecError as error:
            return Refused(str(error))
        except Exception:  # noqa: BLE001 - logged and answered; nothing above could
            _log.exception("A command of the control plane failed.")
            return Refused("the command failed; the worker's log says why")


def _encode(answer: Answer) -> bytes:
    return msgspec.json.encode(answer) + b"\n"
