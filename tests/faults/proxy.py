"""A proxy that does to a server's clients what networks and busy servers do, by a seeded schedule."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

PASS = "pass"
FAULTS = {
    "503": "the server says SlowDown, and does nothing",
    "500": "the server fails, and does nothing",
    "reset": "the connection is reset before anything reaches the server",
    "cut": "half of the upload reaches the server (or of the reply the client), then both sides are closed",
    "slow": "upload and reply come in pieces",
    "lost": "the server does its work, and its reply never arrives",
}

# What belongs to one connection, not to the request.
HOP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
}
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Wait.</Message></Error>'
)
PIECES = 8


class Proxy:
    """Stands before the HTTP/1.1 server at `upstream` while its block lasts; clients talk to `address`.

    Each request draws `pass` or a fault, each of `rates` with its probability. `may_hit(method, path)` says
    which requests a fault may hit at all. `did` lists (method, path, fault) in the order of the draws.
    """

    def __init__(
        self,
        upstream: str,
        rates: Mapping[str, float] | None = None,
        seed: int = 0,
        may_hit: Callable[[str, str], bool] = lambda method, path: True,
        slow_s: float = 0.4,
    ) -> None:
        self.rates = dict(rates or {})
        assert FAULTS.keys() >= self.rates.keys()
        assert sum(self.rates.values()) <= 1
        where = urlsplit(upstream)
        self.upstream = (where.hostname or "127.0.0.1", where.port or 80)
        self.may_hit, self.slow_s = may_hit, slow_s
        self.did: list[tuple[str, str, str]] = []
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._forced, self._left = "", 0
        self._server = _Server(self)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def always(self, fault: str, times: int = sys.maxsize) -> None:
        """The next requests that a fault may hit all meet this one; then the schedule goes on."""
        assert fault == PASS or fault in FAULTS
        with self._lock:
            self._forced, self._left = fault, times

    def calm(self) -> None:
        """From now on everything passes."""
        self.always(PASS)

    def met(self, fault: str) -> int:
        """How many requests met a fault."""
        with self._lock:
            return sum(drawn == fault for _, _, drawn in self.did)

    def draw(self, method: str, path: str) -> str:
        """What happens to this request."""
        with self._lock:
            fault = self._drawn() if self.may_hit(method, path) else PASS
            self.did.append((method, path, fault))
            return fault

    def _drawn(self) -> str:
        if self._left > 0:
            self._left -= 1
            return self._forced
        at = self._random.random()
        for fault, rate in self.rates.items():
            at -= rate
            if at < 0:
                return fault
        return PASS

    def __enter__(self) -> Proxy:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
        self._server.hang_up()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Closed without the usual goodbye, which would go out before a reset.
        with self._lock:
            self._open.discard(request)
        request.close()

    def hang_up(self) -> None:
        """End the connections that clients keep open; their threads close them."""
        with self._lock:
            for connection in self._open:
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client may go away at any time.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """The proxy lists what it did; nothing is printed."""

    def answer(self) -> None:
        proxy, body = self.server.proxy, self._body()
        fault = proxy.draw(self.command, self.path)
        if fault in ("503", "500"):
            self._reply(
                int(fault), [("Content-Type", "application/xml")], SLOW_DOWN if fault == "503" else b""
            )
            return
        if fault == "reset":
            self._reset()
            return
        pause = proxy.slow_s / (2 * PIECES) if fault == "slow" else 0.0
        try:
            status, headers, reply = self._forward(body, pause, cut=fault == "cut" and len(body) > 1)
        except (OSError, http.client.HTTPException):
            self._reset()
            return
        if fault == "lost" or (fault == "cut" and len(reply) < 2):
            self.close_connection = True
            return
        self._reply(status, headers, reply, pause, cut=fault == "cut")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = answer

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers, up to an empty line
            pass
        return b"".join(chunks)

    def _forward(self, body: bytes, pause: float, cut: bool) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server replies. Host and all else that a signature may cover stays as it came."""
        upstream = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP | {"content-length"}:
                    upstream.putheader(name, value)
            if body or "Content-Length" in self.headers:
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders()
            if cut:
                upstream.send(body[: len(body) // 2])
                raise ConnectionAbortedError
            for piece in _pieces(body, pause):
                upstream.send(piece)
            reply = upstream.getresponse()
            headers = [(name, value) for name, value in reply.getheaders() if name.lower() not in HOP]
            return reply.status, headers, reply.read()
        finally:
            upstream.close()

    def _reply(
        self, status: int, headers: list[tuple[str, str]], body: bytes, pause: float = 0.0, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            # A HEAD tells the length of what it does not send.
            if self.command == "HEAD" or name.lower() != "content-length":
                self.send_header(name, value)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        if cut:
            self.close_connection = True
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            return
        self.end_headers()
        for piece in _pieces(body, pause):
            self.wfile.write(piece)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _pieces(body: bytes, pause: float) -> Iterable[bytes]:
    """The body at once, or in a few pieces with a pause before each."""
    if not pause:
        yield body
        return
    size = max(1, -(-len(body) // PIECES))
    for start in range(0, max(1, len(body)), size):
        time.sleep(pause)
        yield body[start : start + size]
