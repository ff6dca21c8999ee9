"""Fixtures of the results tests: whole simulated runs, judged."""

from collections.abc import Callable

import pytest

from loadtests.results.builder import build_result
from loadtests.results.fold import Tally
from loadtests.results.model import RunResult, TargetReport
from tests.unit.loadtests.results.simulation import (
    GIT,
    STARTED_UNIX,
    TARGET,
    VERSIONS,
    Simulation,
    build_plan,
    run_simulation,
)

Judge = Callable[..., RunResult]


@pytest.fixture(scope="session")
def simulated() -> Tally:
    """A whole load run with a ramp, a spike and failures, shortened tenfold; not to be changed by a test."""
    return run_simulation(Simulation(build_plan(time_scale=0.1)))


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Judges a tally as the orchestrator does."""

    def _judge(tally: Tally, *, target: TargetReport = TARGET, is_interrupted: bool = False) -> RunResult:
        tally.finish()
        return build_result(
            tally,
            created_unix=STARTED_UNIX,
            target=target,
            versions=VERSIONS,
            git=GIT,
            is_interrupted=is_interrupted,
        )

    return _judge


@pytest.fixture(scope="session")
def result(simulated: Tally, judge: Judge) -> RunResult:
    """The result of the simulated run."""
    return judge(simulated)
