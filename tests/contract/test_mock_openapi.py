"""The mock's public description is committed: a change of it is seen in review."""

import json
import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from mock_server.app import create_app
from mock_server.core.clock import Clock
from mock_server.environment import load_settings

GOLDEN = Path(__file__).parent / "mock_openapi.json"


def describe() -> dict[str, Any]:
    app = create_app("consoul", load_settings({}), Clock(lambda: 0.0, lambda: 0.0), CollectorRegistry())
    with TestClient(app) as client:
        page = client.get("/docs")
        assert page.status_code == 200
        assert "POST /chat/stream" in page.text
        assert "//" not in page.text, "the page loads something from elsewhere"
        described: dict[str, Any] = client.get("/openapi.json").json()
    return described


def test_openapi_is_the_committed_one() -> None:
    """With `UPDATE_GOLDEN=1` writes the file instead."""
    text = json.dumps(describe(), indent=1, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text, "run this test with UPDATE_GOLDEN=1 and review the difference"


def test_chat_is_described_with_its_models() -> None:
    described = describe()
    chat = described["paths"]["/chat"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ChatRequestModel"
    }
    assert chat["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ChatAnswerModel"
    }
    errors = {status: answer for status, answer in chat["responses"].items() if status != "200"}
    assert set(errors) == {"400", "401", "404", "408", "413", "414", "422", "429", "431", "500", "503"}
    shapes = {answer["content"]["application/json"]["schema"]["$ref"] for answer in errors.values()}
    assert shapes == {"#/components/schemas/ErrorModel"}
    fields = described["components"]["schemas"]["ChatRequestModel"]["properties"]
    assert (fields["session_id"]["minLength"], fields["session_id"]["maxLength"]) == (1, 128)
    assert (fields["message"]["minLength"], fields["message"]["maxLength"]) == (1, 32_768)
