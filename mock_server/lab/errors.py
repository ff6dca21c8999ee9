"""What the lab refuses or could not do; the text is what the person at the terminal reads."""


class LabError(Exception):
    """Base of every error the lab raises on purpose: what, where, got, wanted, next step."""

    exit_code = 1


class SettingsError(LabError):
    """One or more variables cannot be used; lists every problem."""


class StateError(LabError):
    """The lab's record of itself cannot be read; `mode` is how it runs, where the record still says so."""

    def __init__(self, message: str, mode: str | None) -> None:
        super().__init__(message)
        self.mode = mode


class PortError(LabError):
    """One or more ports are taken; names each with its owner and the variable that moves it."""


class NotReadyError(LabError):
    """A service did not become ready; carries the last lines of its log."""


class SupervisorError(LabError):
    """The process supervisor did not start, answer or obey."""


class ComposeError(LabError):
    """Docker Compose was asked for and cannot be used."""
