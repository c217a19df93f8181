"""Text for the terminal: lines as they stand, sections, and tables."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print `text` as it stands, so that commands can be copied: no wrapping, no markup, no highlighting."""
    console.print(Text(text, style=style), soft_wrap=True)


def section(console: Console, title: str, lines: Iterable[str]) -> None:
    """Print a title and lines below it."""
    say(console, f"\n{title}", style="bold")
    for line in lines:
        say(console, f"  {line}")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row: the first column aligned to the left, the others, which are amounts, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
