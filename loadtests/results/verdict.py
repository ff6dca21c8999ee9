"""Outcomes to one verdict: interrupted > invalid > fail > insufficient > pass, each with why and what to do next."""

from collections.abc import Sequence

from loadtests.results.model import ThresholdOutcome, Verdict, Watchdog


def decide_verdict(
    *,
    is_interrupted: bool,
    is_exploratory: bool,
    finished: int,
    thresholds: Sequence[ThresholdOutcome],
    watchdog: Watchdog,
) -> Verdict:
    """The verdict of a run; `finished` counts successes outside warm-up. Missing data is never a pass."""
    hard = [each for each in thresholds if each.hard]
    judging = [each for each in hard if each.outcome != "not_measured"]
    if is_interrupted:
        why = "the run was stopped before its last stage ended, so it says nothing about the whole profile"
        return Verdict(name="interrupted", why=why, next_step="let it run to its end, or shorten it with TIME_SCALE")
    broken = [check for check in watchdog.checks if check.outcome == "broken"]
    if broken:
        why = f"the measurement cannot be trusted: {'; '.join(f'{c.name} {c.detail}' for c in broken)}"
        return Verdict(name="invalid", why=why, next_step=broken[0].advice)
    failed = [each for each in judging if each.outcome == "fail"]
    if failed:
        return Verdict(name="fail", why=_list(failed), next_step=_after_failure(failed))
    return _without_failure(judging, finished, is_exploratory, has_declared=bool(hard))


def _without_failure(
    judging: Sequence[ThresholdOutcome], finished: int, is_exploratory: bool, *, has_declared: bool
) -> Verdict:
    lacking = [each for each in judging if each.outcome == "insufficient"]
    if not finished:
        why = "no request finished, so there is nothing to judge"
        return Verdict(
            name="insufficient", why=why, next_step="look at the failures by kind, and at the target's logs"
        )
    if lacking:
        step = "run longer or with more load (a larger TIME_SCALE), or set min_samples on the threshold"
        return Verdict(name="insufficient", why=_list(lacking), next_step=step)
    if judging:
        why = f"{len(judging)} of {len(judging)} thresholds held on enough samples, with a sound generator"
        return Verdict(name="pass", why=why, next_step="keep the folder as evidence, or compare it with another run")
    if is_exploratory:
        why = f"an exploratory profile that produced its evidence: {finished:,} finished requests"
        return Verdict(name="pass", why=why, next_step="read the report: nothing was judged")
    why = (
        "every hard threshold is on target metrics that were not measured"
        if has_declared
        else "the profile declares no threshold that judges"
    )
    step = "add thresholds to the profile, or mark it `exploratory: true`"
    return Verdict(name="insufficient", why=why, next_step=step)


def _list(outcomes: Sequence[ThresholdOutcome]) -> str:
    shown = [f"{each.check} ({each.where}): {each.why}" for each in outcomes[:3]]
    rest = len(outcomes) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")


def _after_failure(failed: Sequence[ThresholdOutcome]) -> str:
    if any(each.check.startswith(("error_ratio", "failed")) for each in failed):
        return "look at the failures by kind, then at the target's logs at that time"
    if any(each.check.startswith(("rate", "dropped", "finished")) for each in failed):
        return "see in the timeline where the rate fell behind what was asked, and which resource was full then"
    return "see in the timeline when latency rose, and what the target's own metrics did at that moment"
