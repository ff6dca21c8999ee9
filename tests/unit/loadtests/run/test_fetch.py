"""A fetch ends in an answer, an OSError or a ValueError, whatever the target sends."""

import http.client

import pytest

from loadtests.run import fetch as fetching


@pytest.mark.parametrize("error", [http.client.BadStatusLine("\x1b[2Jgarbage"), http.client.IncompleteRead(b"half")])
def test_an_answer_that_is_no_http_is_a_value_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Opener:
        def open(self, url: str, timeout: float) -> None:
            raise error

    monkeypatch.setattr(fetching, "_opener", Opener())
    with pytest.raises(ValueError, match="not an HTTP answer"):
        fetching.fetch("http://127.0.0.1:1/")
