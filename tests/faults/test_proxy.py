"""The proxy passes on what it should, and does what it says otherwise."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.proxy import FAULTS, Proxy


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    heard: list[bytes]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Seen-Host", self.headers["Host"])
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1234")
        self.end_headers()


@pytest.fixture
def echo() -> Iterator[tuple[str, list[bytes]]]:
    handler = type("Handler", (Echo,), {"heard": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.heard
        server.shutdown()
        thread.join()


def client(proxy: Proxy) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(proxy.address.removeprefix("http://"), timeout=10)


def test_what_passes_is_unchanged_on_one_connection(echo: tuple[str, list[bytes]]) -> None:
    with Proxy(echo[0]) as proxy:
        wire = client(proxy)
        wire.connect()
        socket = wire.sock
        for headers in ({"Host": "elsewhere"}, {"Host": "elsewhere", "Expect": "100-continue"}):
            wire.request("PUT", "/a?b=c%20d", b"body", headers)
            reply = wire.getresponse()
            assert (reply.status, reply.read(), reply.headers["Seen-Host"]) == (200, b"body", "elsewhere")
        wire.request("PUT", "/a", iter([b"in ", b"chunks"]), encode_chunked=True)
        assert wire.getresponse().read() == b"in chunks"
        wire.request("HEAD", "/a")
        reply = wire.getresponse()
        assert (reply.headers["Content-Length"], reply.read()) == ("1234", b"")
        assert wire.sock is socket
        wire.close()
        assert [fault for *_, fault in proxy.did] == ["pass"] * 4


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_does_what_it_says(echo: tuple[str, list[bytes]], fault: str) -> None:
    address, heard = echo
    with Proxy(address) as proxy:
        proxy.always(fault, times=1)
        wire = client(proxy)
        try:
            wire.request("PUT", "/a", b"body" * 1000)
            reply = wire.getresponse()
            said = str(reply.status) if reply.read() != b"body" * 1000 else "slow"
        except (ConnectionError, http.client.HTTPException) as error:
            said = type(error).__name__
        wire.close()
        gone = {"ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"}
        assert said in (gone if fault in ("reset", "cut", "lost") else {fault})
        assert [body for body in heard if len(body) == 4000] == [b"body" * 1000] * (fault in ("slow", "lost"))


def test_a_seed_is_a_schedule(echo: tuple[str, list[bytes]]) -> None:
    def drawn(seed: int) -> list[str]:
        with Proxy(echo[0], dict.fromkeys(FAULTS, 0.1), seed, lambda method, path: path == "/hit") as proxy:
            return [proxy.draw("PUT", path) for path in ["/hit", "/spared"] * 50]

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)[::2]) == {"pass", *FAULTS}
    assert set(drawn(1)[1::2]) == {"pass"}
