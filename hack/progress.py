"""What is going on, told to a person: a live line on a terminal, plain lines elsewhere, always with elapsed time."""

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

TERMINAL_INTERVAL = 0.5
PLAIN_INTERVAL = 15.0


class Progress:
    """Steps, one after the other; while one lasts it is shown again and again, with how far it has come."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._started = time.monotonic()
        self._step = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._detail = ""

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        with self._lock:
            self._finish_line("failed" if kind else "done")

    def step(self, text: str) -> None:
        """End the step before and begin the next one, described by `text`; of several lines the last describes it."""
        *before, description = text.split("\n")
        with self._lock:
            self._finish_line("done")
            for line in before:
                self._write(line, live=False)
            self._step, self._detail = description, ""
            self._write(f"{description} …", live=True)

    def note(self, text: str) -> None:
        """Say something once, between two steps or during one."""
        with self._lock:
            self._write(text, live=False)

    def megabytes(self, count: int) -> None:
        """Show that `count` bytes have arrived in this step."""
        self._detail = f"{count / 1e6:.1f} MB"

    def packages(self, count: int) -> None:
        """Show that `count` packages have been compiled in this step."""
        self._detail = f"{count} packages compiled"

    def detail(self, text: str) -> None:
        """Show how far this step has come, in a few words."""
        self._detail = text

    def _finish_line(self, outcome: str) -> None:
        if self._step and self._live:
            self._stream.write(f"\r\033[K{self._line(self._step)}: {outcome}\n")
            self._stream.flush()
        self._step = ""

    def _tick(self) -> None:
        while not self._ended.wait(TERMINAL_INTERVAL if self._live else PLAIN_INTERVAL):
            with self._lock:
                if self._step:
                    self._write(f"{self._step} … {self._detail}".rstrip(), live=True)

    def _write(self, text: str, *, live: bool) -> None:
        start = "\r\033[K" if self._live else ""  # overwrites the live line
        if live and self._live:
            # A line that wraps could not be overwritten.
            self._stream.write(start + self._line(text)[: shutil.get_terminal_size().columns - 1])
        else:
            self._stream.write(f"{start}{self._line(text)}\n")
        self._stream.flush()

    def _line(self, text: str) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"[{minutes}:{seconds:02}] {text}"
