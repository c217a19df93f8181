"""The billing API as a process, as its users start it."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from billing_api.licensing.keys import SigningKey
from hack.paths import PROJECT_ROOT

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


def shared_secrets(folder: Path) -> dict[str, str]:
    """Return the settings that replicas with a DATABASE_URL must have in common; the license key is put in a folder."""
    keys = folder / "shared-keys"
    if not keys.exists():
        keys.mkdir()
        (keys / "1.pem").write_bytes(_license_key())
    return {
        "LICENSE_PRIVATE_KEY_PATH": str(keys),
        "SESSION_SECRET": "of-sessions-" * 4,
        "IDEMPOTENCY_SECRET": "of-idempotency-" * 4,
    }


@cache
def _license_key() -> bytes:
    return SigningKey.generate().pem()


def signup_body(email: str = "john@example.com") -> dict[str, str]:
    """Return the body of a signup."""
    return {"email": email, "password": PASSWORD, "company_name": "Acme Corp"}


def session_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that sends the session of a signup or login."""
    return {"Authorization": f"Bearer {answer['session']['token']}"}
