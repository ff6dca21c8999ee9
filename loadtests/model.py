"""Profile, Stage, Threshold, Plan: what a run is asked to do. Frozen, strict, and without I/O, clock or environment.

Durations are written as text (`2m30s`) and held as seconds in fields ending in `_s`; rates are arrivals a second.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from loadtests.quantities import parse_duration, parse_rate

Seconds = Annotated[float, BeforeValidator(parse_duration)]
Rate = Annotated[float, BeforeValidator(parse_rate)]


def _refuse_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"got {value}, want a number (YAML reads yes, no, on and off as true and false)")
    return value


Whole = Annotated[int, BeforeValidator(_refuse_boolean)]
Weight = Annotated[float, BeforeValidator(_refuse_boolean)]
Status = Annotated[Whole, Field(ge=100, le=599)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
StackName = Literal["consoul", "suite", "kcp", "prompt"]


class Record(BaseModel):
    """Base of the model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class Stage(Record):
    """A part of a profile with its own length, load, statistics and verdict.

    Either `users` (closed model) or `rate` (open model, arrivals a second). The level is reached linearly over
    `ramp` from the level of the stage before (0 before the first); `spawn_rate` (users a second) says the same by
    its slope. Neither means at once.
    """

    name: Slug
    duration_s: Seconds = Field(alias="duration", gt=0)
    users: Whole | None = Field(default=None, ge=0, le=1_000_000)
    rate: Rate | None = None
    ramp_s: Seconds | None = Field(default=None, alias="ramp")
    spawn_rate: Rate | None = Field(default=None, gt=0)
    warmup: bool = False

    @model_validator(mode="after")
    def _one_load(self) -> Self:
        if (self.users is None) == (self.rate is None):
            raise ValueError("give either users (closed model) or rate (open model)")
        if self.ramp_s is not None and self.spawn_rate is not None:
            raise ValueError("give either ramp or spawn_rate, not both: each implies the other")
        if self.spawn_rate is not None and self.rate is not None:
            raise ValueError("spawn_rate is for users; an open stage takes ramp")
        if self.ramp_s is not None and self.ramp_s > self.duration_s:
            raise ValueError(
                f"ramp of {self.ramp_s:g} s is longer than the stage's duration of {self.duration_s:g} s; "
                "shorten the ramp or lengthen the stage"
            )
        return self


class Threshold(Record):
    """One condition on one metric, in a scope; without `stage` it covers the run (warm-up stages excepted)."""

    check: str
    stage: Slug | None = None
    request: str | None = None
    hard: bool = True
    min_samples: Whole | None = Field(default=None, ge=1)


class ThinkTime(Record):
    """Pause of a user between two iterations, uniform between the two bounds."""

    min_s: Seconds = Field(alias="min")
    max_s: Seconds = Field(alias="max")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError(f"min {self.min_s:g} s is above max {self.max_s:g} s")
        return self


class Profile(Record):
    """A declared load: stages, mix, thresholds. Source of the figures: the `description`."""

    name: Slug
    description: str = Field(min_length=10)
    stack: StackName
    seed: Whole = Field(default=1, ge=0, lt=2**63)
    stages: tuple[Stage, ...] = Field(min_length=1)
    mix: dict[str, Weight] = Field(min_length=1)
    think_time: ThinkTime = ThinkTime(min=1.0, max=1.0)
    sessions: Literal["per-user", "fresh"] | Annotated[Whole, Field(ge=1, le=1_000_000)] = "per-user"
    # Histograms end at five minutes: what took longer would be recorded as that.
    timeout_s: Seconds = Field(default=30.0, alias="timeout", gt=0, le=300)
    max_in_flight: Whole = Field(default=1000, ge=1, le=100_000)
    arrivals: Literal["poisson", "constant"] = "poisson"
    expected: tuple[Status, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    exploratory: bool = False
    reset: bool = True
    real_time: bool = False

    @model_validator(mode="before")
    @classmethod
    def _widen(cls, data: object) -> object:
        """Accepts a bare think time (`1s`) and a bare threshold (`p95 < 2s`)."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        think = data.get("think_time")
        if isinstance(think, str | int | float) and not isinstance(think, bool):
            data["think_time"] = {"min": think, "max": think}
        thresholds = data.get("thresholds")
        if isinstance(thresholds, list | tuple):
            data["thresholds"] = [{"check": t} if isinstance(t, str) else t for t in thresholds]
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [stage.name for stage in self.stages]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"stage names must differ; more than once: {', '.join(doubled)}")
        if len({stage.users is None for stage in self.stages}) > 1:
            raise ValueError("every stage must be closed (users) or every stage open (rate), not a mixture")
        for threshold in self.thresholds:
            if threshold.stage is not None and threshold.stage not in names:
                raise ValueError(f"threshold on stage {threshold.stage!r}, but the stages are {', '.join(names)}")
            if any(stage.warmup for stage in self.stages if stage.name == threshold.stage):
                raise ValueError(f"threshold on stage {threshold.stage!r}, which is warm-up: recorded, never judged")
        return self

    @property
    def is_open(self) -> bool:
        """True when arrivals come at a rate whatever the target does."""
        return self.stages[0].rate is not None

    @property
    def duration_s(self) -> float:
        """Planned length of all stages together."""
        return sum(stage.duration_s for stage in self.stages)


class Plan(Record):
    """Everything the generating process is told. Holds no secret: the API key travels by environment only.

    `profile` is as declared (overrides applied); who executes the plan shortens it by `time_scale`.
    """

    run_id: str
    short_id: str
    profile: Profile
    time_scale: float = Field(default=1.0, gt=0, le=1)
    targets: dict[str, str]
