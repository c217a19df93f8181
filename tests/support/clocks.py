"""Clocks that do not wait."""

import asyncio

import pytest


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock of this event loop jump ahead: whatever sleeps for less wakes up at its next turn."""
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + seconds)
