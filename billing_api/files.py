"""Files written whole or not at all, and the folder they are in."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing_api.errors import SettingsError


def replace(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file in one step, in place of the one that is there: a reader sees the old one or the new one.

    Args:
        mode: its permissions, such as 0o644, whatever the umask.
    """
    with _written(path, content, mode) as fresh:
        fresh.replace(path)


def create(path: Path, content: bytes, *, mode: int) -> bool:
    """Write a file in one step unless there is one; of several writers the first wins.

    Returns:
        False when there was one already.
    """
    with _written(path, content, mode) as fresh:
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            return False
        return True


def require_usable(folder: Path) -> None:
    """Refuse a DATA_DIR that is there and cannot be worked in.

    Raises:
        SettingsError: with the cure.
    """
    try:
        missing = not folder.exists()
        usable = missing or (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK))
        why = "no folder, or no permission"
    except OSError as error:
        usable, why = False, error.strerror or type(error).__name__
    if not usable:
        raise SettingsError(
            f"DATA_DIR: {folder} cannot be used ({why}); name the folder of the billing API, as the user that runs it"
        )


@contextmanager
def _written(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """Give a complete file beside the path, under a name of its own; it is gone after the block."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            # A key that has signed must not be lost with the power.
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
