"""A client that counts every failure: HTTP/1.1 over connections it keeps, and nothing is ever sent twice."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_last(self) -> bool:
        """Whether the server said that the connection ends with this answer."""
        return self.headers.get("connection", "").lower() == "close"


class KeepAliveClient:
    """One connection at a time; a new one only where the last answer said so or the server had closed it before."""

    def __init__(self, port: int):
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.opened = 0

    async def chat(self, session_id: str, message: str = "hello") -> Reply:
        """Takes one turn."""
        return await self.request("POST", "/chat", {"session_id": session_id, "message": message})

    async def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Returns the answer; raises OSError or IncompleteReadError (an EOFError) when there is none."""
        reader, writer = await self.connect()
        text = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {path} HTTP/1.1", "Host: mock", f"Content-Length: {len(text)}"]
        head += ["Content-Type: application/json"] if text else []
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        try:
            writer.write("\r\n".join([*head, "", ""]).encode() + text)
            await writer.drain()
            reply = await _read_reply(reader)
        except BaseException:
            self.close()
            raise
        if reply.is_last:
            self.close()
        return reply

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Returns the connection, opened when there is none that both sides hold open."""
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            self.opened += 1
        return self._streams

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(status_line.split()[1]), headers, body)
