"""The map's file: what HAProxy reads when it starts, and the router itself when there is no API server."""

import os
from pathlib import Path
from typing import Final

from mqtt_router.errors import MapFileFailed

_READABLE: Final = 0o644  # by HAProxy, which is another user


class MapFile:
    """One file that is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Take its path; nothing is read or written yet."""
        self.path = path

    def read(self) -> str | None:
        """Return its text, None when there is no file; raises MapFileFailed."""
        try:
            return self.path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error

    def write(self, text: str) -> None:
        """Replace it; raises MapFileFailed, and then it is as it was."""
        try:
            self._replace(text)
        except OSError as error:
            raise self._failed(error) from error

    def _replace(self, text: str) -> None:
        # One name for all: what a process leaves behind that is killed here does not pile up.
        new = self.path.with_name(f".{self.path.name}.new")
        new.unlink(missing_ok=True)
        try:
            with new.open("x", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), _READABLE)
            new.replace(self.path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def _failed(self, error: OSError) -> MapFileFailed:
        return MapFileFailed(f"MAP_FILE {self.path}: {error.strerror or error}")
