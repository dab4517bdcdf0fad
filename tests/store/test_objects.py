"""Opening a store, shipping it, and what it says where it cannot work."""

from __future__ import annotations

import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import PermissionDeniedError

from jointdistill.store.objects import open_store
from jointdistill.types import Refusal


def test_a_folder_may_be_given_in_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("data").put("a", b"1")
    assert open_store(str(tmp_path / "data")).get("a") == b"1"
    assert open_store(f"file://{tmp_path}/data").get("a") == b"1"


def test_a_pickled_store_finds_its_folder_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("data")
    store.put("a", b"1")
    pickled = pickle.dumps(store)
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).get("a") == b"1"


def test_no_secret_is_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    assert b"hunter2" not in pickle.dumps(open_store("s3://bucket/runs"))


def test_a_store_in_memory_is_not_shipped() -> None:
    with pytest.raises(TypeError, match="one process"):
        pickle.dumps(open_store("memory://"))


@pytest.mark.parametrize("uri", ["ftp://host/x", "http://host/x", "S3:/bucket://"])
def test_an_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(Refusal, match="use a folder, s3://"):
        open_store(uri)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match="cannot be used as a folder"):
        open_store(str(tmp_path / "file"))


def test_an_unreachable_service_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = open_store("s3://bucket/runs", patience_s=0.1)
    with pytest.raises(Refusal, match=r"^s3://bucket/runs failed at writing a \(.*reached and has room\.$"):
        store.put("a", b"")


class Elsewhere(BaseHTTPRequestHandler):
    """What S3 answers in another region than the bucket's: a redirect that does not say where to."""

    status, said = 301, b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.said)))
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *_: object) -> None:
        pass


class Malformed(Elsewhere):
    """Or that the request was signed for the wrong one."""

    status = 400
    said = (
        b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>The header is malformed; the "
        b"region 'us-east-1' is wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region></Error>"
    )


@pytest.mark.parametrize("answer", [Elsewhere, Malformed])
def test_a_bucket_of_another_region_is_told_from_one_that_is_away(
    answer: type[Elsewhere], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        store = open_store("s3://bucket/runs")
        for ask in (lambda: store.get("a"), lambda: list(store.list())):
            with pytest.raises(Refusal, match=r"\): set AWS_REGION to the bucket's region\.$"):
                ask()
        server.shutdown()


def test_a_writer_without_permission_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionDeniedError("Access Denied\n\nDebug source: long")

    monkeypatch.setattr(obstore, "put", deny)
    with pytest.raises(Refusal, match=r"\(Access Denied\): check the credentials"):
        open_store(str(tmp_path)).put("a", b"")


def test_a_full_path_that_runs_through_a_file_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a", b"")
    with pytest.raises(Refusal, match="failed at writing a/b"):
        store.put("a/b", b"")
