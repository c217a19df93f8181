"""A lock between processes that the kernel takes back when its holder ends."""

import fcntl
import os
from pathlib import Path


class FileLock:
    """An exclusive flock(2) on a file, which is created and never removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock; return False when another process has it and `wait` is not set."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back; no harm when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
