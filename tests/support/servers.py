"""Servers as child processes, by the name that tests know them by."""

from pathlib import Path

import pytest

from hack.errors import BinaryError
from hack.servers import PATIENCE as PATIENCE
from hack.servers import Server as Server
from hack.servers import find_program
from hack.servers import is_open as is_open


def need_program(name: str, *, of: str) -> Path:
    """Return a program of some software's package; skips the test when there is none."""
    try:
        return find_program(name, of=of)
    except BinaryError as error:
        pytest.skip(str(error))
