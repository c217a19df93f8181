"""Files written whole or not at all, and the folder they are in."""

import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing_api.errors import SettingsError

_GROUP = "its group"

log = logging.getLogger(__name__)


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


def require_own(path: Path, *, name: str) -> None:
    """Refuse a file with a secret that others could have put there; what a group may write is only told.

    Raises:
        SettingsError: it belongs to another user, or everybody may write it.
    """
    who = _writers(path)
    if who in {"", _GROUP}:
        _warn(path, who)
        return
    raise SettingsError(
        f"{name}: {path} may be written by {who}, and whoever has written it knows the secret; look whether it is "
        f"yours, or make a new one, then: chown {os.geteuid()} {path}; chmod go-w {path}"
    )


def warn_of_others(folder: Path) -> None:
    """Tell of a folder with secrets in it that others may write: they can replace what is there."""
    if not folder.stat().st_mode & stat.S_ISVTX:
        _warn(folder, _writers(folder))


def _warn(path: Path, who: str) -> None:
    if who:
        log.warning(
            "%s may be written by %s: chown %d %s; chmod go-w %s, unless you trust them",
            path,
            who,
            os.geteuid(),
            path,
            path,
        )


def _writers(path: Path) -> str:
    """Return who may write it besides us and root; empty when nobody may."""
    found = path.stat()
    if found.st_uid not in {0, os.geteuid()}:
        return f"the user with id {found.st_uid}"
    if found.st_mode & stat.S_IWOTH:
        return "everybody"
    return _GROUP if found.st_mode & stat.S_IWGRP else ""


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
