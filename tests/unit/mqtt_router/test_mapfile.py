"""The map's file is whole, or as it was."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.paths import PROJECT_ROOT
from mqtt_router.errors import MapFileFailed
from mqtt_router.mapfile import MapFile

# Writes, and is killed before the file has its name.
KILLED = """
import os, signal, sys
from pathlib import Path
from mqtt_router.mapfile import MapFile
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
MapFile(Path(sys.argv[1])).write("b 1")
"""


@pytest.fixture
def _private() -> Iterator[None]:
    """Run as a process whose new files are nobody else's unless it says so."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_private")
def test_what_is_written_is_read_and_others_may_read_it(tmp_path: Path) -> None:
    file = MapFile(tmp_path / "routes.map")
    assert file.read() is None

    file.write("a 1\n")
    file.write("b 1\n")

    assert file.read() == "b 1\n"
    assert file.path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file.path]


def test_a_write_that_fails_leaves_the_file_as_it_was_and_no_other(tmp_path: Path) -> None:
    file = MapFile(tmp_path / "routes.map")
    file.write("a 1\n")

    with pytest.raises(UnicodeEncodeError):
        file.write("ä 1\n")

    assert file.read() == "a 1\n"
    assert list(tmp_path.iterdir()) == [file.path]


def test_what_killed_processes_have_left_behind_does_not_pile_up(tmp_path: Path) -> None:
    file = MapFile(tmp_path / "routes.map")
    file.write("a 1\n")

    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, file.path], env={"PYTHONPATH": str(PROJECT_ROOT / "operator")}
        )
        assert done.returncode == -signal.SIGKILL

    assert file.read() == "a 1\n"
    assert len(list(tmp_path.iterdir())) == 2
    file.write("b 1\n")
    assert list(tmp_path.iterdir()) == [file.path]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    file = MapFile(tmp_path / "absent" / "routes.map")

    with pytest.raises(MapFileFailed, match=r"MAP_FILE .*absent/routes\.map: No such file or directory"):
        file.write("")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MapFileFailed, match="Is a directory"):
        MapFile(tmp_path).read()
