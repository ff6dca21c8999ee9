"""Errors of the instrument, split by who must act; each carries its exit code and the next step.

LoadTestError
├── UsageError        the person who called: arguments, environment, results folder   (104)
├── ProfileError      the author of the profile: one problem per line, all at once    (104)
├── TargetError       the operator of the target: not ready, not allowed              (3)
└── HarnessError      us: the generator could not be started or broke                 (107)
"""

from loadtests.exit_codes import ExitCode


class LoadTestError(Exception):
    """Base of every error this package raises on purpose; its text is what the person reads."""

    exit_code = ExitCode.HARNESS_BROKE


class UsageError(LoadTestError):
    """An argument, variable or folder given by the caller cannot be used."""

    exit_code = ExitCode.USAGE


class ProfileError(LoadTestError):
    """A profile does not say what a profile must say; lists every problem with file and line."""

    exit_code = ExitCode.USAGE


class TargetError(LoadTestError):
    """The target does not answer ready, or nobody allowed load to be sent there."""

    exit_code = ExitCode.TARGET_NOT_READY


class HarnessError(LoadTestError):
    """The instrument itself failed; never a statement about the target."""

    exit_code = ExitCode.HARNESS_BROKE
