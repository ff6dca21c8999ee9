"""Where a Redis is, from its URL."""

import ssl
from dataclasses import dataclass, field

from redis.asyncio.connection import SSLConnection, parse_url


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Host and port, or the path of a Unix socket, with database and credentials; the password never shows."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False

    def handshake(self) -> list[tuple[str, ...]]:
        """Returns the commands that open a connection, in order."""
        commands: list[tuple[str, ...]] = []
        if self.password is not None:
            commands.append(("AUTH", *([self.username] if self.username else []), self.password))
        if self.database:
            commands.append(("SELECT", str(self.database)))
        return [*commands, ("PING",)]

    def ssl_context(self) -> ssl.SSLContext | None:
        """Returns the context for `rediss://`, else None."""
        return ssl.create_default_context() if self.tls else None


def parse_address(url: str) -> RedisAddress:
    """Returns the address a `redis://`, `rediss://` or `unix://` URL names; raises ValueError."""
    parts = parse_url(url)
    return RedisAddress(
        host=str(parts.get("host", "127.0.0.1")),
        port=int(parts.get("port", 6379)),
        path=parts.get("path"),
        database=int(parts.get("db", 0)),
        username=parts.get("username"),
        password=parts.get("password"),
        tls=parts.get("connection_class") is SSLConnection,
    )
