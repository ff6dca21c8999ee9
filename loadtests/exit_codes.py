"""Every exit code of `python -m loadtests`, in one place (verdicts first, then causes without a verdict)."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process ends with; `make` maps each non-zero code to 2, so scripts read `run.json`."""

    PASS = 0
    TARGET_NOT_READY = 3
    INVALID = 5
    INSUFFICIENT = 6
    NOT_COMPARABLE = 97
    REGRESSION = 98
    FAIL = 99
    USAGE = 104
    INTERRUPTED = 105
    HARNESS_BROKE = 107
