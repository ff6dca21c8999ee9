"""Lines of `events.jsonl`: stage changes, watchdog alarms, start and end of a run, from the messages that tell."""

import msgspec

from loadtests.results.formats import clean_text, format_processes
from loadtests.wire import Alarm, Ended, Message, StageEvent, Started


class RunEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened `t` seconds after the start; `kind` is stage, alarm or run, `name` which one."""

    t: float
    kind: str
    name: str
    detail: str


def build_event(message: Message) -> RunEvent | None:
    """The event a message tells of; None for measurements."""
    if isinstance(message, StageEvent):
        return RunEvent(message.at_s, "stage", message.stage, message.event)
    if isinstance(message, Alarm):
        return RunEvent(message.at_s, "alarm", clean_text(message.kind, 60), clean_text(message.detail))
    if isinstance(message, Started):
        return RunEvent(0.0, "run", "started", format_processes(message.processes))
    if isinstance(message, Ended):
        return RunEvent(message.at_s, "run", "ended", message.reason)
    return None
