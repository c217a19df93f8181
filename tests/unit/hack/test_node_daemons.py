"""Daemons that end are started again, until somebody says stop."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from hack.node import daemons as module
from hack.node.daemons import Daemons
from hack.node.programs import Daemon

PATIENCE = 10.0


@pytest.fixture
def lifeline() -> Iterator[tuple[IO[str], IO[str]]]:
    """Both ends of a pipe: what a supervisor reads, and what its keeper closes."""
    read, write = os.pipe()
    with os.fdopen(read) as inside, os.fdopen(write, "w") as outside:
        yield inside, outside


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemons]:
    monkeypatch.setattr(module, "RESTART_DELAY", 0.05)
    with (tmp_path / "record").open("w", encoding="utf-8") as record:
        daemons = Daemons(logs=tmp_path, record=record)
        yield daemons
        daemons.end()


def pids(folder: Path) -> list[int]:
    """Return the pids that the daemon has written, one for each start."""
    log = folder / "sleeper.log"
    return [int(line) for line in log.read_text(encoding="ascii").split()] if log.exists() else []


def test_a_daemon_that_was_killed_is_started_again_and_it_is_recorded(
    running: Daemons, tmp_path: Path, lifeline: tuple[IO[str], IO[str]]
) -> None:
    running.start(Daemon(name="sleeper", command=["/bin/sh", "-c", "echo $$; exec sleep 60"]))
    deadline = time.monotonic() + PATIENCE
    while not pids(tmp_path) and time.monotonic() < deadline:
        assert running.watch(lifeline[0], timeout=0.02)
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    while len(pids(tmp_path)) < 2 and time.monotonic() < deadline:
        assert running.watch(lifeline[0], timeout=0.02)
    assert len(pids(tmp_path)) == 2
    assert "sleeper has ended with exit code -9" in (tmp_path / "record").read_text(encoding="utf-8")


def test_the_end_of_the_lifeline_ends_the_watch(running: Daemons, lifeline: tuple[IO[str], IO[str]]) -> None:
    inside, outside = lifeline
    assert running.watch(inside, timeout=0.01)
    outside.close()
    assert not running.watch(inside, timeout=PATIENCE)
