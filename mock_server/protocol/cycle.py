"""One request and its answer, as uvicorn has it, and with it a way to refuse a body that is still coming in."""

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from mock_server.errors import RequestError

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent


class RefusableCycle(RequestResponseCycle):
    """Raises out of `receive` what was wrong with the body, so that it is answered and counted like any refusal."""

    _refusal: RequestError | None = None

    def refuse(self, error: RequestError) -> None:
        """Ends the body with `error`; the connection ends with the answer, whatever it is."""
        self._refusal = error
        self.keep_alive = False
        self.message_event.set()

    async def receive(self) -> "ASGIReceiveEvent":
        """Returns the next part of the body, or that the client left; raises the error of a refused body."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            event = self.message_event
            if not event.is_set():
                await event.wait()
            event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self._refusal is not None:
            # Set again: whoever asks once more hears the same.
            self.message_event.set()
            raise self._refusal
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}
