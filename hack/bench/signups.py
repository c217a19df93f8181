"""Signups as a benchmark sends them: at a steady rate, as fast as they are answered, and until they are taken."""

import asyncio
import itertools
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Any
from uuid import uuid4

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=60)
# Shorter than what any server keeps an idle connection open: whoever closes it first must be us.
_KEEPALIVE = 2.0
_BACKOFF = 0.2  # seconds, when nobody says how long to wait
# Not taken now: too many wait, the database is away, or the first try of the same request is still at work.
_AGAIN = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_IN_PROGRESS = "urn:iotistic:problem:request-in-progress"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one try was answered; status 0 when it was not."""

    status: int
    content: dict[str, Any]
    retry_after: float = _BACKOFF

    @property
    def taken(self) -> bool:
        """Whether there is an account now."""
        return self.status == HTTPStatus.CREATED

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered otherwise in a moment."""
        return not self.status or self.status in _AGAIN or self.content.get("type") == _IN_PROGRESS


@dataclass(kw_only=True)
class Load:
    """What a measurement has seen: seconds from when a signup was due to its answer, and over how many seconds."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def per_second(self) -> float:
        """How many were answered in a second."""
        return len(self.latencies) / self.seconds

    def add(self, answer: Answer, latency: float) -> None:
        """Count one signup; a refused one has no latency, for refusing is quick."""
        if answer.taken:
            self.latencies.append(latency)
        else:
            self.failures += 1


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)] if ordered else float("nan")


class Customers:
    """People who sign up, each at the next replica; whose try meets nobody tries the one after it."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str], *, domain: str) -> None:
        self._session = session
        self._domain = domain
        self._urls = itertools.cycle(urls)
        self._numbers = itertools.count()

    def address(self) -> str:
        """Return an e-mail address that nobody has had."""
        return f"{next(self._numbers)}@{self._domain}"

    async def sign_up(self, email: str, *, key: str) -> Answer:
        """Try once, from the place of this address: signups from one network wait for each other, by intent."""
        body = {"email": email, "password": "SecurePass123", "company_name": "Bench"}
        headers = {"Idempotency-Key": key, "X-Forwarded-For": place_of(email)}
        url = f"{next(self._urls)}/api/customers/signup"
        try:
            async with self._session.post(url, json=body, headers=headers) as response:
                retry_after = float(response.headers.get("Retry-After", _BACKOFF))
                content = await response.json(content_type=None)
                return Answer(status=response.status, content=content, retry_after=retry_after)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return Answer(status=0, content={})

    async def insist(self, email: str, *, key: str, seconds: float) -> Answer:
        """Try again with the same key, for so many seconds, until it is taken or refused for good."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (answer := await self.sign_up(email, key=key)).passing:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(answer.retry_after)
        return answer

    async def at_rate(self, per_second: float, *, seconds: float, random: Random) -> Load:
        """Sign up at an open-loop rate: independently of how fast the answers come, at random intervals.

        What counts is the time since a signup was due, so a server that falls behind cannot hide it.
        """
        loop, load = asyncio.get_running_loop(), Load(seconds=seconds)
        began, offset = loop.time(), random.expovariate(per_second)
        async with asyncio.TaskGroup() as group:
            while offset < seconds:
                due = began + offset
                await asyncio.sleep(due - loop.time())
                group.create_task(self._measured(load, due))
                offset += random.expovariate(per_second)
        return load

    async def saturating(self, clients: int, *, seconds: float) -> Load:
        """Sign up with so many clients, each as soon as its last signup is answered."""
        loop, load = asyncio.get_running_loop(), Load(seconds=seconds)
        deadline = loop.time() + seconds

        async def repeat() -> None:
            while (due := loop.time()) < deadline:
                answer = await self._measured(load, due, until=deadline)
                if not answer.taken:
                    await asyncio.sleep(answer.retry_after)

        await asyncio.gather(*(repeat() for _ in range(clients)))
        return load

    async def _measured(self, load: Load, due: float, *, until: float = float("inf")) -> Answer:
        answer = await self.sign_up(self.address(), key=str(uuid4()))
        now = asyncio.get_running_loop().time()
        if now <= until:
            load.add(answer, now - due)
        return answer


def place_of(email: str) -> str:
    """Return the IP address of the owner of an e-mail address: each in a /48 of their own (RFC 3849), up to 65,536."""
    return f"2001:db8:{zlib.crc32(email.encode()) & 0xFFFF:x}::1"


@asynccontextmanager
async def customers(urls: Sequence[str], *, party: str) -> AsyncIterator[Customers]:
    """Give people who sign up at these URLs, in turns, on as many connections as they need.

    Their e-mail addresses end with `@PARTY.example`.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE)
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
        yield Customers(session, urls, domain=f"{party}.example")
