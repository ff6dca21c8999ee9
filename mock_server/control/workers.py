"""The parent's way to its workers: asks all of them at once, over the Unix socket of each."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from mock_server.control.wire import ANSWER_LIMIT_BYTES, Answer, Command, Refused, find_sockets

_PIECE_BYTES = 262_144
A = TypeVar("A", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Answers(Generic[A]):
    """What the workers said, by process id; `silent` are those that did not answer in time or refused, and why."""

    given: Mapping[int, A]
    silent: Mapping[int, str]


class Workers:
    """The workers there are; `pids` returns worker number → process id of those the parent looks after."""

    def __init__(self, folder: Path, pids: Callable[[], Mapping[int, int]]):
        self.folder = folder
        self._pids = pids
        self._decoder = msgspec.json.Decoder(Answer)

    def ask(self, build_command: Callable[[int], Command], kind: type[A], timeout_s: float) -> Answers[A]:
        """Returns the answer of every worker that listens; one that is gone meanwhile counts for nothing.

        A worker that only starts does not listen yet, and takes what is wanted from the file before it serves.
        """
        sockets = find_sockets(self.folder)
        # Until its thread says otherwise, a worker has not done what it was told.
        outcomes: dict[int, Answer | None] = dict.fromkeys(sockets, Refused("it could not be asked"))

        def ask_one(pid: int) -> None:
            outcomes[pid] = self._ask_one(sockets[pid], build_command(pid), timeout_s)

        threads = [threading.Thread(target=ask_one, args=(pid,), name="control", daemon=True) for pid in sockets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        given = {pid: answer for pid, answer in outcomes.items() if isinstance(answer, kind)}
        silent = {
            pid: answer.reason if isinstance(answer, Refused) else "its answer is for another question"
            for pid, answer in outcomes.items()
            if answer is not None and pid not in given
        }
        return Answers(given, silent)

    def starting(self) -> list[int]:
        """Returns the numbers of the workers that do not listen yet."""
        listening = find_sockets(self.folder)
        return sorted(worker for worker, pid in self._pids().items() if pid not in listening)

    def name(self, pid: int) -> str:
        """Returns how a message calls a worker."""
        numbers = [worker for worker, of in self._pids().items() if of == pid]
        return f"worker {numbers[0]} (pid {pid})" if numbers else f"the worker with pid {pid}"

    def _ask_one(self, path: Path, command: Command, timeout_s: float) -> Answer | None:
        """Returns the answer, a refusal in the worker's name for none in time, None when the worker is gone."""
        deadline_s = time.monotonic() + timeout_s
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(timeout_s)
                sock.connect(str(path))
                sock.sendall(msgspec.json.encode(command) + b"\n")
                line = _read_line(sock, deadline_s)
        except TimeoutError:
            return Refused(f"no answer within {timeout_s:g} s")
        except OSError:
            return None
        try:
            return self._decoder.decode(line) if line else None
        except msgspec.MsgspecError:
            return Refused("its answer cannot be read")


def _read_line(sock: socket.socket, deadline_s: float) -> bytes:
    """Returns one whole line, or nothing when the other side ended before; raises TimeoutError at the deadline."""
    pieces: list[bytes] = []
    size_bytes = 0
    while not pieces or not pieces[-1].endswith(b"\n"):
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or size_bytes > ANSWER_LIMIT_BYTES:
            raise TimeoutError
        sock.settimeout(left_s)
        piece = sock.recv(_PIECE_BYTES)
        if not piece:
            return b""
        pieces.append(piece)
        size_bytes += len(piece)
    return b"".join(pieces)
