"""A real S3 for tests: Ceph's RGW over one monitor and one OSD, on ports and in a folder of its own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.engine.server import free_port

NEEDED = (
    "ceph",
    "ceph-authtool",
    "ceph-mon",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
    "setpriv",
)

# Short intervals and one placement group a pool: 5 s from nothing to the first object, instead of 15 s.
# A killed gateway is waited for by its successor (who tells it of each new bucket) for the watch timeout.
# Without tcp_nodelay every reply would wait 40 ms for the client's acknowledgement.
SETTINGS = """
[global]
fsid = {fsid}
mon host = {monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
paxos propose interval = 0.02
paxos min wait = 0.01
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
mon osd full ratio = .97
mon osd backfillfull ratio = .96
mon osd nearfull ratio = .95
run dir = {folder}/run
admin socket = {folder}/run/$cluster-$name.asok
log file = {folder}/log/$name.log
pid file = {folder}/run/$name.pid
crash dir = {folder}/run
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
keyring = {folder}/keyring
osd objectstore = bluestore
bluestore block size = 10737418240
osd memory target = 939524096
bluestore cache autotune = false
bluestore cache size = 67108864
osd class load list = *
osd class default list = *
mon client hunt interval = 0.2
osd client watch timeout = 5
objecter tick interval = 1
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 32
rgw dynamic resharding = false
"""

KEYS = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
    "client.rgw": ("mon", "allow rwx", "osd", "allow rwx"),
}


def absent() -> list[str]:
    """The programs that are not installed."""
    return [program for program in NEEDED if shutil.which(program) is None]


@contextmanager
def rgw() -> Iterator[Rgw]:
    """A server with one user, for as long as the block lasts."""
    # Short, because the path of a socket below it may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="jd-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        server = Rgw(Path(folder), free_port())
        try:
            server.create()
            yield server
        finally:
            server.kill()


@dataclass
class Rgw:
    """The server, its address and its user."""

    folder: Path
    port: int
    access_key: str = "tester"
    secret: str = "of-the-tests"
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client of S3 finds the server by."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            # This server answers 411 to the trailing checksums that pyarrow and boto3 send unasked.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }

    def create(self) -> None:
        """Make the cluster's files, start it and make its user."""
        for name in ("mon", "osd", "rgw", "log", "run"):
            (self.folder / name).mkdir()
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        monitor = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
        settings = SETTINGS.format(fsid=fsid, monitor=monitor, folder=self.folder, port=self.port)
        (self.folder / "ceph.conf").write_text(settings)

        keyring, monmap = str(self.folder / "keyring"), str(self.folder / "monmap")
        self._do("ceph-authtool", "--create-keyring", keyring)
        for name, rights in KEYS.items():
            pairs = zip(rights[::2], rights[1::2], strict=True)
            caps = [word for service, right in pairs for word in ("--cap", service, right)]
            self._do("ceph-authtool", keyring, "--gen-key", "-n", name, *caps)
        self._do("monmaptool", "--create", "--fsid", fsid, "--addv", "a", monitor, monmap)
        self._do("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
        self._start("ceph-mon", "-i", "a")
        self._do("ceph", "--connect-timeout", "30", "osd", "new", osd)
        self._do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._start_osd_and_gateway()
        user = ("--uid=tester", "--display-name=tester")
        keys = (f"--access-key={self.access_key}", f"--secret-key={self.secret}")
        self._do("radosgw-admin", "user", "create", *user, *keys)

    def start(self) -> None:
        """Start all three again on the files that are there. They live no longer than the calling thread."""
        self._start("ceph-mon", "-i", "a")
        self._start_osd_and_gateway()

    def kill(self) -> None:
        """Take the power from all three: signal 9, by process id."""
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(30)
        self.processes.clear()

    def bucket(self, name: str) -> str:
        """Make a bucket; gives its address."""
        client = S3Store(
            name,
            endpoint=self.endpoint,
            access_key_id=self.access_key,
            secret_access_key=self.secret,
            region="us-east-1",
            client_options={"allow_http": True},
        )
        address = obstore.sign(client, "PUT", "", timedelta(minutes=1))
        with urllib.request.urlopen(urllib.request.Request(address, method="PUT"), timeout=30):
            return f"s3://{name}"

    def _start_osd_and_gateway(self) -> None:
        # A gateway that finds no OSD, or the address of one that was killed, only looks again after 10 s.
        self._start("ceph-osd", "-i", "0")
        self._wait(self._osd_is_active)
        self._start("radosgw", "-n", "client.rgw")
        self._wait(self._gateway_answers)

    def _osd_is_active(self) -> bool:
        command = ["ceph", "--admin-daemon", f"{self.folder}/run/ceph-osd.0.asok", "status"]
        status = subprocess.run(command, capture_output=True, text=True, check=False)
        return status.returncode == 0 and json.loads(status.stdout)["state"] == "active"

    def _gateway_answers(self) -> bool:
        try:
            # While it starts it takes connections that it never answers.
            with urllib.request.urlopen(self.endpoint, timeout=0.3):
                return True
        except OSError:
            return False

    def _wait(self, ready: Callable[[], bool], seconds: float = 90) -> None:
        until = time.monotonic() + seconds
        while not ready():
            assert all(process.poll() is None for process in self.processes), self._said()
            assert time.monotonic() < until, self._said()
            time.sleep(0.05)

    def _do(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [program, "-c", f"{self.folder}/ceph.conf", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{program} {' '.join(words)}: {done.stdout}{done.stderr}"

    def _start(self, program: str, *words: str) -> None:
        # It ends with this process, even where that is killed and can end nothing itself.
        command = ["setpriv", "--pdeathsig", "KILL", program, "-f", "-c", f"{self.folder}/ceph.conf", *words]
        with (self.folder / "log" / "said").open("a") as said:
            self.processes.append(subprocess.Popen(command, stdout=said, stderr=said))

    def _said(self) -> str:
        return (self.folder / "log" / "said").read_text()[-4000:]
