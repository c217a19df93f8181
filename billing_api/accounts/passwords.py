"""Passwords as bcrypt hashes, computed in threads so that the event loop never waits for them.

Who waits for a thread waits in one of two lanes, new passwords and those to verify, which take turns: a flood of logins
does not starve signups, nor the reverse. Each lane is bounded, and of the logins what one address may have in it: a
right password uses up no tries. Past a bound the caller is told to come back.
"""

import asyncio
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import Final, Literal, Self, TypeVar

import bcrypt

from billing_api.errors import ServiceUnavailable

T = TypeVar("T")
Lane = Literal["hash", "verify"]

LANES: Final[tuple[Lane, ...]] = ("hash", "verify")
#: bcrypt's work factor: 2^10 rounds, about 60 ms (requirements 002: "bcrypt, 10 rounds").
COST = 10
#: bcrypt reads no more; version 5 of the library refuses longer input.
MAX_BYTES = 72
#: One of so many parts of a lane is what one address may fill.
_SHARE = 4

#: The hash of a random password nobody knows: what an unknown account is checked against, so that it takes as long.
_NOBODY = b"$2b$10$dU/4XdnLn5wp48qO1X7WWOwJ2USuZdTtcextAhR89nDzKhIWQb2sq"


def hash_password(password: str) -> str:
    """Return the bcrypt hash (60 characters) of a password of at most 72 bytes. Blocks for about 60 ms."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()


def verify_password(password: str, password_hash: str | None) -> bool:
    """Tell whether the password belongs to the hash. Blocks for about 60 ms whatever the answer.

    Args:
        password: of any length; one that bcrypt cannot read never matches.
        password_hash: None for an account that does not exist.
    """
    secret = password.encode()
    if password_hash is None or len(secret) > MAX_BYTES:
        bcrypt.checkpw(b"", _NOBODY)
        return False
    return bcrypt.checkpw(secret, password_hash.encode())


class Passwords:
    """The two functions above for async code, on as many threads as there are processors (bcrypt frees the GIL).

    Args:
        queue: how many may wait in each lane.
        threads: how many are computed at a time; one for each processor by default.
    """

    def __init__(self, *, queue: int, threads: int | None = None) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="bcrypt")
        self._free = self._threads
        self._bound = queue
        self._share = max(1, queue // _SHARE)
        self._of: Counter[str] = Counter()
        # In the order in which they are served next: a lane that was served goes to the end.
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in LANES}
        # What one takes here, from those of late.
        self._seconds = 0.06

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def waiting(self, lane: Lane) -> int:
        """Return how many wait in a lane."""
        return sum(not turn.done() for turn in self._waiting[lane])

    async def hash(self, password: str) -> str:
        """See `hash_password`; raises ServiceUnavailable when too many wait."""
        return await self._compute("hash", lambda: hash_password(password))

    async def verify(self, password: str, password_hash: str | None, *, address: str = "") -> bool:
        """See `verify_password`; raises ServiceUnavailable when too many wait, in all or of the same address."""
        return await self._compute("verify", lambda: verify_password(password, password_hash), address=address)

    async def _compute(self, lane: Lane, work: Callable[[], T], *, address: str = "") -> T:
        await self._turn(lane, address)
        started = perf_counter()
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        future.add_done_callback(lambda _: self._done(perf_counter() - started))
        # A caller who is gone frees nothing: the thread goes on.
        return await asyncio.shield(future)

    async def _turn(self, lane: Lane, address: str) -> None:
        """Wait for a thread; it is taken when this returns."""
        if self._free:
            self._free -= 1
            return
        if self.waiting(lane) >= self._bound or self._of[address] >= self._share:
            raise self._overloaded()
        turn = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        try:
            with self._counting(address):
                await turn
        except asyncio.CancelledError:
            # It was given a thread in the same moment, or still stands in its lane, where it is passed over.
            if not turn.cancelled():
                self._next()
            raise

    @contextmanager
    def _counting(self, address: str) -> Iterator[None]:
        """Count one that waits; without an address there is nothing to count."""
        if not address:
            yield
            return
        self._of[address] += 1
        try:
            yield
        finally:
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]

    def _done(self, seconds: float) -> None:
        self._seconds += (seconds - self._seconds) / 10
        self._next()

    def _next(self) -> None:
        """Hand a thread that is free to whoever is next, the lanes in turns."""
        for lane in tuple(self._waiting):
            self._waiting[lane] = turns = self._waiting.pop(lane)
            while turns:
                turn = turns.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1

    def _overloaded(self) -> ServiceUnavailable:
        waiting = sum(map(self.waiting, LANES))
        seconds = max(1, math.ceil(waiting * self._seconds / self._threads))
        detail = f"Too many passwords wait to be checked; try again in {seconds} s"
        return ServiceUnavailable(detail, headers={"Retry-After": str(seconds)})
