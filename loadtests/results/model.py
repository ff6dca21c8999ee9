"""RunResult: what `run.json` holds, schema-versioned and strict both ways. Holds values; computes none of them."""

import hashlib
import json
from typing import Literal, Self

from pydantic import Field, ValidationError

from loadtests.errors import UsageError
from loadtests.exit_codes import ExitCode
from loadtests.model import Profile, Record

SCHEMA_VERSION: Literal[1] = 1

VerdictName = Literal["pass", "fail", "invalid", "insufficient", "interrupted"]
Outcome = Literal["pass", "fail", "insufficient", "not_measured"]
CheckOutcome = Literal["ok", "warning", "broken", "skipped"]

EXIT_CODES: dict[str, ExitCode] = {
    "pass": ExitCode.PASS,
    "fail": ExitCode.FAIL,
    "invalid": ExitCode.INVALID,
    "insufficient": ExitCode.INSUFFICIENT,
    "interrupted": ExitCode.INTERRUPTED,
}


class Timing(Record):
    """One timed metric of one scope, in seconds; a percentile is None where the sample is not deep enough for it.

    `curve` is (percentile, seconds) over the depth the sample allows, for plotting; only on rows of whole stages.
    """

    count: int
    min_s: float | None
    mean_s: float | None
    max_s: float | None
    percentiles_s: dict[str, float | None]
    curve: tuple[tuple[float, float], ...] = ()


class StatisticsRow(Record):
    """What ended in one scope. `stage` None: the run without warm-up; `request` None: all requests together."""

    stage: str | None
    request: str | None
    warmup: bool
    duration_s: float
    count: int
    finished: int
    refused: int
    failed: int
    rate: float | None
    error_ratio: float | None
    bytes_sent: int
    bytes_received: int
    statuses: dict[str, int]
    timings: dict[str, Timing]


class StageTimes(Record):
    """A stage as planned (time scale applied) and as it really was; None when it never began."""

    name: str
    warmup: bool
    planned_s: float
    begin_s: float | None
    end_s: float | None


class FailureRow(Record):
    """One kind of failure with one message."""

    stage: str
    request: str
    kind: str
    detail: str
    count: int
    first_unix: float
    last_unix: float


class LedgerRow(Record):
    """Every request accounted for: `scheduled = started + dropped`, `started = finished + failed + cut_off`."""

    stage: str | None
    scheduled: int
    started: int
    dropped: int
    finished: int
    refused: int
    failed: int
    cut_off: int
    late: int
    suspect: int
    is_balanced: bool


class Reconciliation(Record):
    """The target's own count of the same requests, and what of the difference the ledger does not explain."""

    counted: int
    at_least: int
    at_most: int
    unexplained: int
    explanation: str


class ThresholdOutcome(Record):
    """One judged threshold: the value measured, the limit it met or broke, on how many samples, and where."""

    check: str
    stage: str | None
    request: str | None
    hard: bool
    outcome: Outcome
    value: float | None
    limit: float
    unit: str
    samples: int
    needed_samples: int
    why: str

    @property
    def where(self) -> str:
        """The scope in words: `run`, `stage spike`, `POST /chat in spike`."""
        if self.request is not None:
            return self.request if self.stage is None else f"{self.request} in {self.stage}"
        return "run" if self.stage is None else f"stage {self.stage}"


class WatchdogCheck(Record):
    """One test of the instrument itself; `broken` makes the run invalid."""

    name: str
    outcome: CheckOutcome
    detail: str
    advice: str = ""


class RunAlarm(Record):
    """Something the watchdog or the runner saw, as it said it."""

    at_s: float
    kind: str
    detail: str


class Watchdog(Record):
    """The instrument's judgement of itself."""

    suspect_ratio: float | None
    loop_lag_max_s: float
    cpu_ratio_max: float
    checks: tuple[WatchdogCheck, ...]
    alarms: tuple[RunAlarm, ...]


class Verdict(Record):
    """The answer, why in one sentence, and what to do next."""

    name: VerdictName
    why: str
    next_step: str

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with."""
        return EXIT_CODES[self.name]


class TargetReport(Record):
    """What the target says of itself over the run; build it from two readings of its metrics.

    `requests_counted` is its own counter's growth over the run for the endpoints the load goes to; `values` are
    figures that `target.NAME` thresholds may name. `facts` are words such as its version. `not_counted` says why
    there is no count.
    """

    urls: dict[str, str]
    is_mock: bool = False
    requests_counted: int | None = None
    not_counted: str = ""
    values: dict[str, float] = Field(default_factory=dict)
    facts: dict[str, str] = Field(default_factory=dict)


class GitState(Record):
    """The commit the instrument ran from."""

    sha: str
    is_dirty: bool


class RunResult(Record):
    """One execution of a profile; `run.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    short_id: str
    created: str
    started_unix: float | None
    duration_s: float
    processes: int
    profile: Profile
    profile_digest: str
    time_scale: float
    comparable_note: str
    repeat_command: str
    target: TargetReport
    versions: dict[str, str]
    git: GitState | None
    stages: tuple[StageTimes, ...]
    statistics: tuple[StatisticsRow, ...]
    failures: tuple[FailureRow, ...]
    ledger: tuple[LedgerRow, ...]
    reconciliation: Reconciliation | None
    thresholds: tuple[ThresholdOutcome, ...]
    watchdog: Watchdog
    verdict: Verdict

    def row(self, stage: str | None = None, request: str | None = None) -> StatisticsRow | None:
        """The statistics of one scope; by default the whole run, warm-up excepted."""
        return next((r for r in self.statistics if r.stage == stage and r.request == request), None)

    @property
    def totals(self) -> LedgerRow:
        """The ledger over all stages."""
        return next(row for row in self.ledger if row.stage is None)

    def to_json(self) -> str:
        """The text of `run.json`."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "run.json") -> Self:
        """The result of a `run.json`; raises UsageError when it is damaged, or newer than this version reads."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{source}: not JSON ({error}); the file is damaged, choose another run") from None
        version = data.get("schema_version") if isinstance(data, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise UsageError(
                f"{source}: result format {version} is newer than this version reads ({SCHEMA_VERSION}); "
                "update this checkout to read it"
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise UsageError(
                f"{source}: {field}: {first['msg']}; not a run result of format {SCHEMA_VERSION}"
            ) from None


def digest_profile(profile: Profile) -> str:
    """sha256 of the profile in canonical JSON: equal digests mean the same load was declared."""
    canonical = json.dumps(profile.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
