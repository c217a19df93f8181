"""Progress on a terminal and elsewhere."""

import io
import re
import time

import pytest

from hack import progress
from hack.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def wait_for(stream: io.StringIO, pattern: str) -> str:
    """Wait until the ticking thread has written `pattern`; return everything written so far."""
    deadline = time.monotonic() + 5
    while not re.search(pattern, stream.getvalue()):
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.005)
    return stream.getvalue()


def test_elsewhere_every_line_stands_for_itself_with_the_elapsed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.01)
    stream = io.StringIO()
    with Progress(stream) as shown:
        shown.step("building one")
        shown.packages(7)
        written = wait_for(stream, "7 packages compiled")
        shown.note("something else")
    assert "\r" not in stream.getvalue()
    assert re.match(r"(\[0:\d\d\] building one …\n)+\[0:\d\d\] building one … 7 packages compiled\n", written)
    assert re.search(r"\n\[0:\d\d\] something else\n$", stream.getvalue())


def test_a_terminal_has_one_live_line_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "TERMINAL_INTERVAL", 0.01)
    stream = Terminal()
    with Progress(stream) as shown:
        shown.step("downloading one")
        shown.megabytes(2_500_000)
        wait_for(stream, "2.5 MB")
        shown.step("downloading two")
    lines = [line.rpartition("\r\033[K")[2] for line in stream.getvalue().rstrip("\n").split("\n")]
    assert [re.sub(r"^\[0:\d\d\] ", "", line) for line in lines] == ["downloading one: done", "downloading two: done"]


def test_a_live_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    with Progress(stream) as shown:
        shown.step("a" * 100)
        assert len(stream.getvalue().removeprefix("\r\033[K")) == 19


def test_of_several_lines_the_last_is_the_step() -> None:
    stream = Terminal()
    with Progress(stream) as shown:
        shown.step("the log says:\nno space\nstarting afresh")
    lines = [line.rpartition("\r\033[K")[2] for line in stream.getvalue().rstrip("\n").split("\n")]
    assert lines == ["[0:00] the log says:", "[0:00] no space", "[0:00] starting afresh: done"]


def test_a_failed_step_is_not_called_done() -> None:
    stream = Terminal()

    def fail() -> None:
        with Progress(stream) as shown:
            shown.step("building")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert stream.getvalue().endswith("building: failed\n")
