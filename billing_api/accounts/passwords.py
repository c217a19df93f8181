"""Passwords as bcrypt hashes, computed in threads so that the event loop never waits for them."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import bcrypt

#: bcrypt's work factor: 2^10 rounds, about 60 ms (requirements 002: "bcrypt, 10 rounds").
COST = 10
#: bcrypt reads no more; version 5 of the library refuses longer input.
MAX_BYTES = 72

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
    """The two functions above for async code, on as many threads as there are processors (bcrypt frees the GIL)."""

    def __init__(self, *, threads: int | None = None) -> None:
        self._executor = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="bcrypt")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """See `hash_password`."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, hash_password, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """See `verify_password`."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, verify_password, password, password_hash
        )
