"""The supervisor's configuration: read back with its own reader's rules."""

import configparser
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from mock_server.lab.errors import SupervisorError
from mock_server.lab.paths import LabPaths
from mock_server.lab.plan import Service
from mock_server.lab.supervision import render_config

PATHS = LabPaths(Path("/a checkout/.lab"), Path("/tmp/lab"))
SERVICE = Service("redis", ("/bin/redis server", "--save", ""), Path("/data"), ("redis://h:1",), (), rank=0)


def parse(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=True)
    parser.read_string(text)
    return parser


def test_the_command_survives_spaces_and_empty_words() -> None:
    parser = parse(render_config((SERVICE,), PATHS, 1024, None))

    assert tuple(shlex.split(parser["program:redis"]["command"])) == SERVICE.command


def test_percent_signs_are_escaped_for_the_expansion_of_supervisor() -> None:
    parser = parse(render_config((replace(SERVICE, command=("/bin/x", "50%")),), PATHS, 1024, None))

    assert (parser["program:redis"]["command"] % {}) == "/bin/x 50%"


@pytest.mark.parametrize("word", ["a ;b", "a #b", "a\nb"])
def test_a_value_that_the_reader_would_cut_is_refused(word: str) -> None:
    with pytest.raises(SupervisorError, match="Move the checkout"):
        render_config((replace(SERVICE, directory=Path(word)),), PATHS, 1024, None)


def test_programs_wait_for_the_lab_to_start_them_and_die_with_their_children() -> None:
    program = parse(render_config((SERVICE,), PATHS, 1024, None))["program:redis"]

    assert program["autostart"] == "false"
    assert program["killasgroup"] == "true"
    assert program["stdout_logfile"] == "/a checkout/.lab/logs/redis.log"


def test_the_socket_is_private_and_root_is_named_only_for_root() -> None:
    as_user, as_root = (parse(render_config((SERVICE,), PATHS, 4096, user)) for user in (None, "root"))

    assert as_user["unix_http_server"]["chmod"] == "0700"
    assert as_user["supervisord"]["minfds"] == "4096"
    assert "user" not in as_user["supervisord"]
    assert as_root["supervisord"]["user"] == "root"


def test_an_environment_of_its_own_is_quoted() -> None:
    service = replace(SERVICE, environment={"A": 'x,"y"', "B": "1"})

    assert parse(render_config((service,), PATHS, 1024, None))["program:redis"]["environment"] == (
        'A="x,\\"y\\"",B="1"'
    )
