"""The proxy before several instances, as the text of its configuration. Pure.

Decided here: streams and WebSockets pass unbuffered; a request body goes on while it still arrives, so that the
mock's own limits and deadlines answer; a POST that an instance may have begun is never sent to another one; and no
address of a client is handed on, since all of the lab's clients come from loopback, with or without a proxy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The tuning guide's, for both directions.
IDLE_TIMEOUT_S = 300
# So long an instance that refused a connection is left alone; the supervisor has started it again by then.
FAIL_TIMEOUT_S = 2
MOST_CONNECTIONS = 32768
# The mock answers what is over its own limit; nginx answers only what is far over it.
BODY_MARGIN_BYTES = 65536
_DEFAULT_BODY_BYTES = 1_048_576
_DEFAULT_KEEP_ALIVE_S = 30
_HEADERS_TOO_LARGE = 494  # nginx's own number for it
# What nginx itself answers, in the one shape of errors: its status -> (what is sent, code, error, message).
_OWN_ANSWERS = {
    400: (400, "E007", "bad_request", "The request cannot be handled."),
    413: (413, "E006", "request_too_large", "The body is larger than this server accepts."),
    414: (414, "E007", "bad_request", "The address is longer than this server accepts."),
    _HEADERS_TOO_LARGE: (431, "E007", "bad_request", "The headers are larger than this server accepts."),
    502: (502, "E140", "bad_gateway", "No instance answered, or the one that had the request ended before it did."),
    504: (504, "E141", "gateway_timeout", f"No instance answered within {IDLE_TIMEOUT_S} s."),
}


@dataclass(frozen=True)
class Proxy:
    """What differs from lab to lab. `listen` and `upstreams` are host:port; `user` is named for root only.

    `keep_alive_s` is after how long an instance closes an idle connection, `body_bytes` the largest body it accepts.
    """

    listen: str
    upstreams: Sequence[str]
    processes: int
    connections: int
    keep_alive_s: float = _DEFAULT_KEEP_ALIVE_S
    body_bytes: int = _DEFAULT_BODY_BYTES
    user: str | None = None


def build_proxy(
    listen: str,
    upstreams: Sequence[str],
    variables: Mapping[str, str],
    *,
    processors: int,
    open_files: int,
    user: str | None = None,
) -> Proxy:
    """The proxy that fits the mock's `variables`. What is no number there the mock itself refuses at its start."""
    return Proxy(
        listen,
        tuple(upstreams),
        processes=max(1, min(processors, 4)),
        connections=min(open_files, MOST_CONNECTIONS),
        keep_alive_s=_read_number(variables, "CONSOUL_TIMEOUT_KEEP_ALIVE", _DEFAULT_KEEP_ALIVE_S),
        body_bytes=_read_number(variables, "CONSOUL_MAX_BODY_SIZE", _DEFAULT_BODY_BYTES),
        user=user,
    )


def _read_number(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() else default


def build_command(binary: str, folder: Path) -> tuple[str, ...]:
    """Runs it in the foreground; every path of its configuration is relative to `folder`."""
    return (binary, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr")


def render_config(proxy: Proxy) -> str:
    """The configuration, which names no path outside the folder it is run with."""
    servers = "\n".join(
        f"    server {address} max_fails=1 fail_timeout={FAIL_TIMEOUT_S}s;" for address in proxy.upstreams
    )
    return _TEMPLATE.format(
        user=f"user {proxy.user};\n" if proxy.user else "",
        processes=proxy.processes,
        connections=proxy.connections,
        servers=servers,
        # It must be nginx that closes an idle connection: a request sent into one the instance closes is lost.
        keep_alive_ms=round(proxy.keep_alive_s * 800),
        listen=proxy.listen,
        body_bytes=proxy.body_bytes + BODY_MARGIN_BYTES,
        idle_s=IDLE_TIMEOUT_S,
        error_pages="\n".join(
            f"    error_page {status} ={sent} /-/nginx/{status};" for status, (sent, *_) in _OWN_ANSWERS.items()
        ),
        own_answers="\n".join(_render_answer(status) for status in _OWN_ANSWERS),
    )


def _render_answer(status: int) -> str:
    sent, code, error, message = _OWN_ANSWERS[status]
    body = {
        "code": code,
        "error": error,
        "message": message,
        "recoverable": sent >= 500,
        "retry_after": None,
        "details": None,
        "timestamp": "$time_iso8601",
    }
    return (
        f"    location = /-/nginx/{status} {{\n"
        "      internal;\n"
        "      add_header X-Request-ID $sane_request_id always;\n"
        f"      return {sent} '{json.dumps(body)}';\n"
        "    }"
    )


_TEMPLATE = """\
# Written by the lab at each start; mock_server/lab/nginx.py says why each line is as it is.
{user}daemon off;
worker_processes {processes};
pid nginx.pid;
error_log stderr warn;

events {{
  worker_connections {connections};
}}

http {{
  access_log off;
  server_tokens off;
  default_type application/json;
  client_body_temp_path client_body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;

  # An empty value takes the header away: the connection to the instance then stays open for the next request.
  map $http_upgrade $connection_header {{
    default upgrade;
    "" "";
  }}
  # An id the mock would not take either is replaced, here for nginx's own answers only.
  map $http_x_request_id $sane_request_id {{
    default $request_id;
    "~^[A-Za-z0-9._:-]{{1,128}}$" $http_x_request_id;
  }}

  upstream consoul {{
    # In shared memory, so that all processes of nginx go round the instances together.
    zone consoul 128k;
{servers}
    keepalive 512;
    keepalive_requests 1000000;
    keepalive_timeout {keep_alive_ms}ms;
  }}

  server {{
    listen {listen} backlog=4096;
    keepalive_requests 1000000;
    client_max_body_size {body_bytes};
    # Above the mock's own limits, so that its 431 and 414 are what a client sees.
    large_client_header_buffers 8 32k;
    merge_slashes off;

    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_header;
    proxy_request_buffering off;
    proxy_connect_timeout 2s;
    proxy_read_timeout {idle_s}s;
    proxy_send_timeout {idle_s}s;
    # Without `non_idempotent` a POST goes to another instance only while none can have seen it.
    proxy_next_upstream error timeout;

    location / {{
      proxy_pass http://consoul;
    }}

    location = /chat/stream {{
      proxy_buffering off;
      proxy_pass http://consoul;
    }}

{error_pages}
{own_answers}
  }}
}}
"""
