"""How a worker's server ends without dropping what is in flight; the two ways to end are `core.draining`'s."""

import asyncio
import select
from collections.abc import Iterable, Sequence

from uvicorn.server import ServerState

from mock_server.core.draining import Draining, Phase
from mock_server.protocol.http import ConsoulHttpProtocol

# What runs longer is cancelled and answered 503, so that all has ended 30 s after the signal.
LONGEST_DRAIN_S = 28.0
# How long a replaced worker waits for the next request of a connection before it closes the connection.
IDLE_S = 5.0


class Drain:
    """Asked again and again by the server's own tick; it waits for nothing itself.

    Told to stop, it goes on accepting, since only a connection that was accepted can be refused properly, and is over
    when all that was in flight has ended. Replaced, it stops accepting at once, which loses nothing: connections not
    yet accepted are the new worker's. It is over when no connection is left.
    """

    def __init__(
        self, draining: Draining, state: ServerState, servers: Sequence[asyncio.AbstractServer], now_s: float
    ):
        self._draining = draining
        self._state = state
        self._servers = servers
        self._began_s = now_s
        self._phase: Phase = "no"
        self._waited_for: list[asyncio.Task[None]] = []

    def is_over(self, now_s: float) -> bool:
        """Returns whether the server may end now."""
        if self._phase != self._draining.phase:
            self._enter(self._draining.phase)
        if now_s - self._began_s >= LONGEST_DRAIN_S:
            return True
        if self._phase == "stop":
            self._waited_for = [task for task in self._waited_for if not task.done()]
            return not self._waited_for
        if now_s - self._began_s >= IDLE_S:
            self._close_idle()
        return not self._state.connections and not self._state.tasks

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._waited_for = list(self._state.tasks)
        if phase == "replace":
            for server in self._servers:
                server.close()
        for connection in list(self._state.connections):
            # One that is being answered closes after its answer; a WebSocket with 1012, after a running answer.
            if not isinstance(connection, ConsoulHttpProtocol) or is_answering(connection):
                connection.shutdown()

    def _close_idle(self) -> None:
        """Closes the idle connections on which nothing has arrived that we have not read yet."""
        found = [each for each in self._state.connections if isinstance(each, ConsoulHttpProtocol) and each.is_idle]
        for connection in without_unread_data(found):
            connection.shutdown()


def is_answering(connection: ConsoulHttpProtocol) -> bool:
    """Returns whether a request of this connection is unanswered."""
    return connection.cycle is not None and not connection.cycle.response_complete


def without_unread_data(connections: Iterable[ConsoulHttpProtocol]) -> list[ConsoulHttpProtocol]:
    """Returns those whose socket has nothing to read; under load the event loop may not have got to it yet."""
    poll = select.poll()
    by_fileno = {}
    for connection in connections:
        sock = connection.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            by_fileno[sock.fileno()] = connection
            poll.register(sock.fileno(), select.POLLIN)
    for fileno, _ in poll.poll(0):
        del by_fileno[fileno]
    return list(by_fileno.values())
