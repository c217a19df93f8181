"""Replicas of the billing API on one PostgreSQL, as processes, and the databases they share."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from psycopg.conninfo import make_conninfo

from hack import exposition
from hack.errors import HackError
from hack.files import log_tail, write_private
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from hack.processes import dying_with_parent

#: The billing API as it is, and with bcrypt answered from a constant.
HASHING, WITHOUT_HASH = "billing_api", "hack.bench.unhashed"

_READY_TIMEOUT = 60.0
_END_GRACE = 40.0  # it promises to end within 30
_GLANCE = 0.05  # seconds between two looks at what nothing announces
# A setting of the user's own shell, such as DATABASE_URL, must not reach the measurement by accident.
_INHERITED = ("HOME", "LANG", "PATH", "TMPDIR")
# All signups come from this machine, as those of a proxy's clients, thousands in a minute; a repeated one counts as a
# login, too.
_NO_LIMITS = {
    "TRUSTED_PROXIES": "127.0.0.1",
    "LOGIN_ATTEMPTS_PER_ADDRESS": "1000000",
    "SIGNUPS_PER_ADDRESS": "1000000",
    "SIGNUPS_IN_ALL": "1000000",
    "UNVERIFIED_STACKS_PER_ADDRESS": "1000000",
    "UNVERIFIED_STACKS_IN_ALL": "1000000",
}


@dataclass(kw_only=True)
class Replica:
    """One process; its log is appended to a file."""

    program: str
    port: int
    environment: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; from the main thread, with which it ends."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", self.program),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT_ROOT,
                env={**inherited, "HOST": "127.0.0.1", "PORT": str(self.port), **self.environment},
                start_new_session=True,
                preexec_fn=dying_with_parent(),
            )

    def wait_ready(self) -> None:
        """Wait until it serves and sees the cluster; raises HackError with the end of its log when it does not."""
        deadline = time.monotonic() + _READY_TIMEOUT
        while not self._is_ready():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                reason = "has ended" if ended else f"is not ready after {_READY_TIMEOUT:.0f} s"
                raise HackError(f"{self.program} {reason}\n{log_tail(self.log)}")
            time.sleep(_GLANCE)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and kill it when it does not; no harm when it has ended."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_END_GRACE)
        except subprocess.TimeoutExpired:
            self.kill()

    def pending(self) -> float:
        """Return how many outbox rows wait, as its metrics say."""
        text = httpx.get(f"{self.url}/metrics", timeout=_READY_TIMEOUT, trust_env=False).raise_for_status().text
        return exposition.total(text, "billing_outbox_pending")

    def wait_drained(self, *, timeout: float) -> None:
        """Wait until no outbox row waits; raises HackError when some still do after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while waiting := self.pending():
            if time.monotonic() > deadline:
                raise HackError(f"{waiting:.0f} outbox rows still wait after {timeout:.0f} s\n{log_tail(self.log)}")
            time.sleep(_GLANCE)

    def _is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{self.url}/health/ready", timeout=_READY_TIMEOUT, trust_env=False)
            return answer.is_success and bool(answer.json()["kubernetes"] == "connected")
        return False


@contextmanager
def running(count: int, *, program: str, dsn: str, kubeconfig: Path, folder: Path) -> Iterator[list[Replica]]:
    """Run so many replicas on one database until the end of the block, their files in `folder`."""
    reservation = PortReservation(count)
    shared = {**_NO_LIMITS, **_secrets(folder), "DATABASE_URL": dsn, "KUBECONFIG": str(kubeconfig)}
    with ExitStack() as stack:
        stack.callback(reservation.release)
        replicas = []
        for number, port in enumerate(reservation.ports):
            data = folder / f"data-{number}"
            data.mkdir(exist_ok=True)
            environment = {**shared, "DATA_DIR": str(data), "BASE_DOMAIN": "localhost"}
            replica = Replica(program=program, port=port, environment=environment, log=folder / f"replica-{number}.log")
            replica.start()
            stack.callback(replica.stop)
            replicas.append(replica)
        for replica in replicas:
            replica.wait_ready()
        yield replicas


def new_database(url: str, name: str) -> str:
    """Create an empty database on the server of `url`; return its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        info = connection.info
        return f"postgresql://{info.user}@/{name}?host={info.host}&port={info.port}"


def accounts(dsn: str) -> list[tuple[str, str]]:
    """Return the accounts of a database: e-mail address, in lower case, and customer."""
    with psycopg.connect(make_conninfo(dsn)) as connection:
        return connection.execute("SELECT lower(email), customer_id FROM customers").fetchall()


def _secrets(folder: Path) -> dict[str, str]:
    """Return what replicas must have in common; the license key is written once."""
    path = folder / "license.pem"
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem.decode())
    return {
        "LICENSE_PRIVATE_KEY_PATH": str(path),
        "SESSION_SECRET": "benchmark-" * 4,
        "IDEMPOTENCY_SECRET": "benchmark-" * 4,
    }
