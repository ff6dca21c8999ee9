"""The run folder: the one place of this package that touches a disk. Appends while running, replaces atomically."""

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from loadtests.errors import UsageError
from loadtests.model import Plan
from loadtests.results.events import RunEvent
from loadtests.results.histogram_log import build_header, build_line
from loadtests.results.model import RunResult
from loadtests.results.series import SeriesPoint
from loadtests.wire import Interval

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LIMIT = 80
_SAME_NAME_TRIES = 1000
_LineT = TypeVar("_LineT", SeriesPoint, RunEvent)


def build_run_id(now_utc: datetime, stack: str, profile: str, short_id: str) -> str:
    """`20261121T093000Z-consoul-load-1a2b3c`: the name of the run and of its folder."""
    return "-".join([now_utc.strftime("%Y%m%dT%H%M%SZ"), *(safe_name(part) for part in (stack, profile, short_id))])


def safe_name(text: str) -> str:
    """A part of a file name for any text: one that needs changing gets a mark, so that two never meet in one file."""
    safe = _UNSAFE.sub("-", text).strip("-.")[:_NAME_LIMIT]
    if safe == text:
        return safe
    return f"{safe or 'unnamed'}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


class RunFolder:
    """One folder under the results folder. Raises UsageError, with the next step, where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, root: Path, plan: Plan) -> Self:
        """A new folder named by the plan's run id, with `plan.json` in it; never one that exists already."""
        name = safe_name(plan.run_id)
        with _explained(root):
            root.mkdir(parents=True, exist_ok=True)
            path = _make_new(root, name)
            folder = cls(path)
            folder.write_text("plan.json", plan.model_dump_json(indent=2) + "\n")
            (path / "histograms").mkdir()
        return folder

    @property
    def plan_path(self) -> Path:
        """What the generating process is told to read."""
        return self.path / "plan.json"

    def append_series(self, point: SeriesPoint) -> None:
        """Adds one second to `series.jsonl`."""
        self._append("series.jsonl", msgspec.json.encode(point) + b"\n")

    def append_event(self, event: RunEvent) -> None:
        """Adds one line to `events.jsonl`."""
        self._append("events.jsonl", msgspec.json.encode(event) + b"\n")

    def append_histograms(self, interval: Interval, started_unix: float) -> None:
        """Adds the histograms of one interval to their logs, one file for each stage, request and metric."""
        for stage, delta in interval.stages.items():
            for request, totals in delta.requests.items():
                for metric, payload in totals.histograms.items():
                    name = f"{safe_name(stage)}--{safe_name(request)}--{safe_name(metric)}.hlog"
                    path = self.path / "histograms" / name
                    header = b"" if path.exists() else build_header(stage, request, metric, started_unix).encode()
                    line = build_line(interval.start_s, interval.end_s, payload).encode()
                    self._append(f"histograms/{name}", header + line)

    def write_json(self, name: str, value: object) -> None:
        """Replaces a file by a JSON document, whole or not at all."""
        self.write_text(name, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replaces a file by a text, whole or not at all: a kill at any moment leaves the old or the new one."""
        if Path(name).name != name:
            raise ValueError(f"a file of the run folder has no path: {name!r}")
        with _explained(self.path):
            temporary = self.path / f".{name}.{uuid.uuid4().hex}"
            try:
                with temporary.open("w", encoding="utf-8", newline="") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self.path / name)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(self.path)

    def load_series(self) -> list[SeriesPoint]:
        """Every whole line of `series.jsonl`; a last line cut by a kill is left out."""
        return self._load("series.jsonl", SeriesPoint)

    def load_events(self) -> list[RunEvent]:
        """Every whole line of `events.jsonl`; a last line cut by a kill is left out."""
        return self._load("events.jsonl", RunEvent)

    def load_environment(self) -> dict[str, object] | None:
        """The recorded environment, None when there is none."""
        path = self.path / "environment.json"
        if not path.exists():
            return None
        try:
            loaded: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{path}: not JSON ({error}); remove it to render the run without it") from None
        return loaded

    def _append(self, name: str, data: bytes) -> None:
        with _explained(self.path), (self.path / name).open("ab") as file:
            file.write(data)

    def _load(self, name: str, kind: type[_LineT]) -> list[_LineT]:
        path = self.path / name
        if not path.exists():
            return []
        *lines, _cut = path.read_bytes().split(b"\n")
        try:
            return [msgspec.json.decode(line, type=kind) for line in lines if line]
        except msgspec.MsgspecError as error:
            raise UsageError(f"{path}: {error}; written by another version or damaged") from None


def load_result(path: Path) -> RunResult:
    """The result in a run folder (or of a `run.json`); raises UsageError when there is none or it cannot be read."""
    file = path / "run.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: no result to read ({error}); give a folder under results/") from None
    return RunResult.from_json(text, str(file))


def _make_new(root: Path, name: str) -> Path:
    for number in range(1, _SAME_NAME_TRIES):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise UsageError(f"{root}: holds {_SAME_NAME_TRIES} runs named {name}; choose another results folder")


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"results folder {path}: cannot be written ({error.strerror or error}); "
            "free space or correct its owner and mode, or choose another with RESULTS_DIR=FOLDER"
        ) from error
