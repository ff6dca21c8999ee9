"""What the control plane can do, without HTTP: keeps what is wanted of every worker, and asks them all."""

import threading
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from mock_server.control.change import describe, parse_change
from mock_server.control.ledger_pages import merge_pages, parse_query
from mock_server.control.wire import (
    ClearLedger,
    Command,
    Configure,
    Confirmed,
    Describe,
    Description,
    Desired,
    LedgerPage,
    ResetBreakers,
    write_desired,
)
from mock_server.control.workers import Answers, Workers
from mock_server.errors import InvalidContentError, WorkerSilentError
from mock_server.services.consoul.provider import ProviderConfig
from mock_server.services.consoul.providers import apply_change, render_config

CONFIRM_WITHIN_S = 2.0
# A worker under full load hands out a long page in slices.
READ_WITHIN_S = 5.0
A = TypeVar("A", bound=msgspec.Struct)


class ControlPlane:
    """One for each mock; its methods may be called from several threads."""

    def __init__(self, workers: Workers, initial: Mapping[str, ProviderConfig]):
        self._workers = workers
        self._initial = dict(initial)
        self._desired = Desired(0, self._initial)
        self._changing = threading.Lock()

    def read_provider(self) -> dict[str, Any]:
        """Returns what each provider is set to."""
        desired = self._desired
        providers = {name: render_config(config) for name, config in desired.configs.items()}
        return {"revision": desired.revision, "providers": providers}

    def change_provider(self, given: object) -> dict[str, Any]:
        """Sets providers as a decoded body says; raises InvalidContentError, WorkerSilentError."""
        change, names = parse_change(given)
        with self._changing:
            configs = dict(self._desired.configs)
            try:
                configs |= {name: apply_change(change, configs[name]) for name in names}
            except ValueError:
                problem = describe("profile", "'custom' needs a latency that was never given; add 'custom'")
                raise InvalidContentError(details=[problem]) from None
            return self._want(configs)

    def reset_provider(self) -> dict[str, Any]:
        """Sets every provider back to what the settings say; raises WorkerSilentError."""
        with self._changing:
            return self._want(self._initial)

    def read_ledger(self, query: str) -> dict[str, Any]:
        """Returns entries of all workers' ledgers; raises InvalidContentError, WorkerSilentError."""
        wanted = parse_query(query)
        answers = self._workers.ask(wanted.command_for, LedgerPage, READ_WITHIN_S)
        self._refuse_silence(answers, "The ledger is not whole without it.")
        return merge_pages(answers.given, wanted)

    def clear_ledger(self) -> dict[str, Any]:
        """Empties every worker's ledger; raises WorkerSilentError."""
        return self._command(ClearLedger(), "The ledgers of the others are empty.")

    def reset_breakers(self) -> dict[str, Any]:
        """Closes every breaker; raises WorkerSilentError."""
        return self._command(ResetBreakers(), "The breakers of the others are closed.")

    def list_workers(self) -> dict[str, Any]:
        """Returns the state of every worker, those that are silent or only start among them."""
        answers = self._workers.ask(lambda _: Describe(), Description, CONFIRM_WITHIN_S)
        serving = [
            {"status": "serving", "pid": pid, **msgspec.to_builtins(description)}
            for pid, description in sorted(answers.given.items(), key=lambda item: (item[1].worker, item[0]))
        ]
        silent = [{"status": "silent", "pid": pid, "reason": answers.silent[pid]} for pid in sorted(answers.silent)]
        starting = [{"status": "starting", "worker": worker} for worker in self._workers.starting()]
        for worker in serving:
            del worker["type"]
        return {"revision": self._desired.revision, "workers": serving + silent + starting}

    def _want(self, configs: Mapping[str, ProviderConfig]) -> dict[str, Any]:
        desired = Desired(self._desired.revision + 1, dict(configs))
        # The file first: a worker that listens only after we looked for sockets reads it then.
        write_desired(self._workers.folder, desired)
        self._desired = desired
        outcome = self._command(
            Configure(desired.revision, desired.configs),
            f"It takes revision {desired.revision} when it wakes, and so does every worker that starts.",
        )
        return self.read_provider() | outcome

    def _command(self, command: Command, otherwise: str) -> dict[str, Any]:
        answers = self._workers.ask(lambda _: command, Confirmed, CONFIRM_WITHIN_S)
        self._refuse_silence(answers, otherwise)
        return {"confirmed": _numbers(answers), "starting": self._workers.starting()}

    def _refuse_silence(self, answers: Answers[A], otherwise: str) -> None:
        if answers.silent:
            reasons = [f"{self._workers.name(pid)}: {reason}" for pid, reason in sorted(answers.silent.items())]
            details = {"silent": sorted(answers.silent), "answered": sorted(answers.given)}
            raise WorkerSilentError(f"{'; '.join(reasons)}. {otherwise}", retry_after_s=1.0, details=details)


def _numbers(answers: Answers[Confirmed]) -> list[int]:
    return sorted({answer.worker for answer in answers.given.values()})
