"""The result as JUnit XML: one test case for each threshold, one for the instrument, one for the run itself."""

from xml.etree import ElementTree as ET

from loadtests.results.formats import clean_text
from loadtests.results.model import RunResult, ThresholdOutcome


def render_junit(result: RunResult) -> str:
    """One suite; a broken threshold is a failure, one that could not be judged an error, a soft one is skipped."""
    suite = ET.Element("testsuite", name=f"{result.profile.stack}/{result.profile.name}", timestamp=result.created)
    properties = ET.SubElement(suite, "properties")
    for name, value in (("run_id", result.run_id), ("verdict", result.verdict.name), ("why", result.verdict.why)):
        ET.SubElement(properties, "property", name=name, value=_xml_text(value))
    for threshold in result.thresholds:
        _add_threshold(suite, threshold, f"{result.profile.stack}.{result.profile.name}")
    _add_soundness(suite, result)
    _add_run(suite, result)
    suite.set("time", f"{result.duration_s:.3f}")
    suite.set("tests", str(len(suite.findall("testcase"))))
    for kind in ("failure", "error", "skipped"):
        suite.set({"failure": "failures", "error": "errors"}.get(kind, kind), str(len(suite.findall(f".//{kind}"))))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_threshold(suite: ET.Element, threshold: ThresholdOutcome, prefix: str) -> None:
    name = f"{threshold.check} ({threshold.where})"
    case = ET.SubElement(suite, "testcase", classname=prefix, name=_xml_text(name))
    if threshold.outcome == "pass":
        return
    if threshold.outcome == "not_measured" or not threshold.hard:
        message = f"{threshold.outcome.replace('_', ' ')}, reported only: {threshold.why}"
        ET.SubElement(case, "skipped", message=_xml_text(message))
        return
    kind = "failure" if threshold.outcome == "fail" else "error"
    ET.SubElement(case, kind, type=threshold.outcome, message=_xml_text(threshold.why))


def _add_soundness(suite: ET.Element, result: RunResult) -> None:
    case = ET.SubElement(suite, "testcase", classname="instrument", name="the generator was sound")
    broken = [check for check in result.watchdog.checks if check.outcome == "broken"]
    if broken:
        message = "; ".join(f"{check.name}: {check.detail}" for check in broken)
        ET.SubElement(case, "error", type="invalid", message=_xml_text(message))


def _add_run(suite: ET.Element, result: RunResult) -> None:
    case = ET.SubElement(suite, "testcase", classname="instrument", name="the run could be judged")
    if result.verdict.name in {"interrupted", "insufficient"}:
        ET.SubElement(case, "error", type=result.verdict.name, message=_xml_text(result.verdict.why))


def _xml_text(text: str) -> str:
    return clean_text(text, 1000)
