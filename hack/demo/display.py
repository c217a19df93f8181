"""The progress of a deployment in the terminal: a live display, or plain lines where the output is no terminal."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hack.demo.instance import Snapshot, Stage
from hack.demo.text import say

REFRESH_PER_SECOND = 8
BAR_WIDTH = 40
MARKS = {"Pending": ("·", "dim"), "Active": ("▸", "cyan"), "Done": ("✔", "green"), "Failed": ("✘", "red")}


class ProgressDisplay:
    """Shows one snapshot after the other; in a terminal the time goes on between them."""

    def __init__(self, console: Console, *, started: float) -> None:
        """Take the console, and the monotonic time from which on time is counted."""
        self._console = console
        self._started = started
        self._snapshot = Snapshot()
        self._done_at: dict[str, float] = {}
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=REFRESH_PER_SECOND, transient=False
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show a new snapshot."""
        previous, self._snapshot = self._snapshot, snapshot
        for stage in snapshot.stages:
            if stage.state == "Done":
                self._done_at.setdefault(stage.name, self._elapsed())
            else:
                self._done_at.pop(stage.name, None)
        if not self._console.is_terminal and _line(previous) != _line(snapshot):
            say(self._console, f"[{self._elapsed():5.1f} s] {_line(snapshot)}")

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _render(self) -> RenderableType:
        snapshot = self._snapshot
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=100, completed=snapshot.progress, width=BAR_WIDTH)
        head.add_row(bar, f"{snapshot.progress:3} %", Text(snapshot.phase, style="bold"), f"{self._elapsed():5.1f} s")
        stages = Table.grid(padding=(0, 2))
        for stage in snapshot.stages:
            stages.add_row(*self._stage(stage))
        return Group(head, stages, Text(snapshot.message, style="dim"))

    def _stage(self, stage: Stage) -> tuple[Text, ...]:
        mark, style = MARKS[stage.state]
        done_at = self._done_at.get(stage.name)
        since = f"{done_at:5.1f} s" if done_at is not None else ""
        return Text(f"  {mark}", style=style), Text(stage.name, style=style), Text(since), Text(stage.message, "dim")


def _line(snapshot: Snapshot) -> str:
    return f"{snapshot.progress:3} %  {snapshot.phase:<12}  {snapshot.message}"
