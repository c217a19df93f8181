"""The billing API as a process, as its users start it."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hack.paths import PROJECT_ROOT
from hack.processes import ProcessIdentity, identify

PASSWORD = "SecurePass123"

# Seconds; generous, because a test waits no longer than it has to.
_PATIENCE = 60.0


class BillingProcess:
    """A running billing API with what it has logged so far."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.log = ""
        self._grown = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def until(self, pattern: str) -> re.Match[str]:
        """Read the log until a line matches."""
        assert self.child.stderr is not None
        async with asyncio.timeout(_PATIENCE):
            while line := (await self.child.stderr.readline()).decode():
                self.log += line
                if match := re.search(pattern, line):
                    return match
        raise AssertionError(f"ended without {pattern}:\n{self.log}")

    async def address(self) -> str:
        """Wait until it serves; return its URL. From now on the log is read in the background."""
        address = (await self.until(r"running on (http\S+)"))[1]
        self._reading = asyncio.create_task(self._read())
        return address

    async def client(self) -> httpx.AsyncClient:
        """Wait until it serves; return a client of it. From now on the log is read in the background."""
        address = await self.address()
        # Shorter than the 75 seconds after which the server closes an idle connection: whoever is first must be us.
        limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
        return httpx.AsyncClient(base_url=address, timeout=2 * _PATIENCE, limits=limits)

    async def logged(self, pattern: str) -> None:
        """Wait until the log that is read in the background has it."""
        async with asyncio.timeout(_PATIENCE):
            while not re.search(pattern, self.log):
                self._grown.clear()
                await self._grown.wait()

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status once all is logged."""
        self.child.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended; return the exit status once all is logged."""
        async with asyncio.timeout(_PATIENCE):
            if self._reading is not None:
                await self._reading
            return await self.child.wait()

    async def _read(self) -> None:
        assert self.child.stderr is not None
        async for line in self.child.stderr:
            self.log += line.decode()
            self._grown.set()


@asynccontextmanager
async def billing_process(environ: Mapping[str, str], *, module: str = "billing_api") -> AsyncIterator[BillingProcess]:
    """Start ``python -m billing_api`` on a free port with these settings and none of ours; end it with the block."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=PROJECT_ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PORT": "0", **environ},
        stderr=asyncio.subprocess.PIPE,
    )
    process = BillingProcess(child)
    try:
        yield process
    finally:
        if child.returncode is None:
            await process.end()


async def run_billing(*arguments: str, **environ: str) -> tuple[int | None, str, str]:
    """Run ``billing-api`` to its end, with these settings and none of ours; return exit status, output, and log."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billing_api", *arguments),
        cwd=PROJECT_ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            output, log = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return child.returncode, output.decode(), log.decode()


@contextmanager
def data_folder() -> Iterator[Path]:
    """Give an empty DATA_DIR until the end of the block; pytest's own paths are too long for the database's socket."""
    with tempfile.TemporaryDirectory(prefix="billing-") as path:
        yield Path(path)


def replica_environment(dsn: str, folder: Path) -> dict[str, str]:
    """Return the settings of a replica on a database; all with the same folder can work side by side."""
    return {"DATABASE_URL": dsn, "DATA_DIR": str(folder), **shared_secrets(folder)}


def shared_secrets(folder: Path) -> dict[str, str]:
    """Return the settings that replicas with a DATABASE_URL must have in common; the license key is put in a folder."""
    key = folder / "license.pem"
    if not key.exists():
        key.write_bytes(private_key_pem())
    return {
        "LICENSE_PRIVATE_KEY_PATH": str(key),
        "SESSION_SECRET": "of-sessions-" * 4,
        "IDEMPOTENCY_SECRET": "of-idempotency-" * 4,
    }


def private_key_pem(bits: int = 2048) -> bytes:
    """Return a new RSA key, as openssl genpkey writes it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def built_in_server(folder: Path) -> ProcessIdentity:
    """Return the running PostgreSQL of the billing API whose DATA_DIR this is."""
    found = identify(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]))
    assert found is not None
    return found


def signup_body(email: str = "john@example.com") -> dict[str, str]:
    """Return the body of a signup."""
    return {"email": email, "password": PASSWORD, "company_name": "Acme Corp"}


def session_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that sends the session of a signup or login."""
    return {"Authorization": f"Bearer {answer['session']['token']}"}


def instance_name(answer: Mapping[str, Any]) -> str:
    """Return the name of the instance a signup has queued."""
    return str(answer["deployment"]["job_id"]).removesuffix("-g1")


async def until_kubernetes_is(client: httpx.AsyncClient, wanted: str) -> httpx.Response:
    """Ask for readiness until it says so of Kubernetes; return that answer."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            response = await client.get("/health/ready")
            if response.json()["kubernetes"] == wanted:
                return response
