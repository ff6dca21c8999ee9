"""HTTP/1.1 as uvicorn's httptools speaks it, refusing bytes that are not HTTP in the one error shape."""

import json
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mock_server.errors import RequestError, build_body


class ConsoulHttpProtocol(HttpToolsProtocol):
    """Answers what cannot be parsed with our 400; there is no request yet, hence no request id of a client."""

    def send_400_response(self, msg: str) -> None:
        # uvicorn makes the protocol, so no clock can be handed in; the time is only printed.
        body = json.dumps(
            build_body(RequestError("The bytes received are not an HTTP request."), time.time())
        ).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: unparsed\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
