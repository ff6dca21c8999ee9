"""Group E, E1: requests generated from the mock's own description, each answer held to it by every check there is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mock.conftest import StartMock
from tests.reliability.conftest import Measure

LONG = os.environ.get("LONG") == "1"
# Schemathesis 4.32 has fourteen; `all` would not notice one that is gone.
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "missing_required_header",
    "unsupported_method", "allow_header_conformance", "use_after_free", "ensure_resource_availability",
    "ignored_auth", "object_level_authorization",
)  # fmt: skip
# Two runs, with keys and without.
LEAST_CASES = 5_000 if LONG else 150
EXAMPLES = 2_200 if LONG else 60


def run_schemathesis(port: int, folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Returns the report of a run and what it printed."""
    report = folder / "report.json"
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{port}/openapi.json",
        "--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "1",
        "--continue-on-failure", "--no-color", "--report", "json", "--report-json-path", str(report), *options,
    ]  # fmt: skip
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1_800, check=False)
    assert report.exists(), found.stdout + found.stderr
    return json.loads(report.read_text()), found.stdout


@pytest.mark.slow
@pytest.mark.timeout(2_400 if LONG else 300)
def test_e01_generated_requests(start_mock: StartMock, tmp_path: Path, measure: Measure) -> None:
    cases = 0
    failures: list[dict[str, Any]] = []
    for name, variables, options in (
        ("open", {}, ()),
        ("keys", {"CONSOUL_API_KEYS": "the-key"}, ("--header", "X-API-Key: the-key")),
    ):
        mock = start_mock(**variables)
        folder = tmp_path / name
        folder.mkdir()
        report, printed = run_schemathesis(mock.port, folder, *options)
        tested = report["operations"]["tested"], report["operations"]["selected"]
        assert report["exit_code"] == 0, printed
        assert (report["complete"], report["errors"], tested) == (True, [], (5, 5)), printed
        cases += report["test_cases"]["generated"]
        failures += report["failures"]
        counted = mock.scrape()
        answered = {labels: n for (sample, labels), n in counted.items() if sample == "consoul_request_total" and n}
        assert not [labels for labels in answered if dict(labels)["status"].startswith("5")]
        assert sum(n for labels, n in answered.items()) >= report["test_cases"]["generated"]
        assert "Traceback" not in mock.log.read_text()
    measure(
        ">= 10,000 cases, all checks: 0 failures, 0 5xx",
        f"{cases} cases{'' if LONG else ' (LONG=1 for all)'}, {len(CHECKS)} checks: {len(failures)} failures, 0 5xx",
    )
    assert failures == []
    assert cases >= 2 * LEAST_CASES
